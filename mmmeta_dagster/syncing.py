"""What the project file says of syncing: whether runs pull, from where, and which remote the sensor looks at."""

from __future__ import annotations

from urllib.parse import urlsplit

from mmmeta.masking import shown
from mmmeta.project import MetadirConfig, SyncConfig
from mmmeta_dagster import keys


def pulls(metadir: MetadirConfig) -> bool:
    """Whether a run can bring what the remote has published."""
    return metadir.sync.pull is not None or metadir.sync.command is not None


def updated(metadir: MetadirConfig) -> list[str]:
    """The assets that a run begins with which updates first."""
    return [keys.SYNCED, keys.STATE_DB] if pulls(metadir) else [keys.STATE_DB]


def remote_of(metadir: MetadirConfig) -> str | None:
    """The remote whose store the sensor reads: the one that is named for it, else where runs pull from. None for none."""
    return metadir.sensor.remote or metadir.sync.pull


def is_seen(metadir: MetadirConfig) -> bool:
    """Whether the sensor sees what the remote has published, and asks for the run that pulls it."""
    return pulls(metadir) and remote_of(metadir) is not None


def why_never_pulled(metadir: MetadirConfig) -> str | None:
    """That nothing ever asks for a run that pulls, and what is missing, in sentences; None where something does."""
    if not pulls(metadir) or is_seen(metadir) or metadir.schedules.import_ is not None:
        return None
    return (
        f"Nothing asks for a run that pulls {source_of(metadir.sync)[0]}, for nobody can see what that would bring. Write the "
        'remote\'s base path (sensor: {remote: "s3://…"}) or a time (schedules: {import: "*/15 * * * *"}) into the project file, or '
        f"run {keys.import_job(metadir.name)} by hand."
    )


def source_of(sync: SyncConfig) -> tuple[str, str]:
    """From where runs pull, in words and without secrets, and its kind for the asset graph."""
    if sync.pull is None:
        program = (sync.command or [""])[0]
        return f"by `{program}`", "shell"
    protocol = urlsplit(sync.pull).scheme if "://" in sync.pull else "file"
    return f"from {shown(sync.pull)}", {"https": "http", "gs": "gcs"}.get(protocol, protocol)
