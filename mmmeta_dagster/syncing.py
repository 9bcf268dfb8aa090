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


def source_of(sync: SyncConfig) -> tuple[str, str]:
    """From where runs pull, in words and without secrets, and its kind for the asset graph."""
    if sync.pull is None:
        program = (sync.command or [""])[0]
        return f"by `{program}`", "shell"
    protocol = urlsplit(sync.pull).scheme if "://" in sync.pull else "file"
    return f"from {shown(sync.pull)}", {"https": "http", "gs": "gcs"}.get(protocol, protocol)
