"""A server's folder, a client's folder and an ordinary copy between them; and a clock that obeys."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from mmmeta import File, GenerateReport, Metadir, UpdateReport
from mmmeta.clock import utcnow
from mmmeta.errors import OutdatedWarning


class SettableClock:
    """A ``Clock`` that a test moves; it stands still otherwise."""

    def __init__(self, now: datetime | None = None) -> None:
        self.now = now or datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **delta: float) -> None:
        """Move by a ``timedelta``, also backwards."""
        self.now += timedelta(**delta)


class Archive:
    """A server's folder with metadata files, a client's folder, and an ordinary copy between them.

    Attributes:
        server_path, client_path: the base paths.
        server, client: their metadirs.
        log: whether the copy brings the change log; where it does not, meta.db is all that a client has.
    """

    def __init__(
        self, root: Path, *, server_clock: Any = utcnow, client_clock: Any = utcnow, state: str | None = None
    ) -> None:
        self.root = root
        self.server_path = root / "server"
        self.client_path = root / "client"
        self.server_path.mkdir(parents=True)
        self.log = True
        self.server = Metadir(self.server_path, clock=server_clock)
        self.client = Metadir(self.client_path, clock=client_clock, state=state)

    def write(self, name: str, record: Mapping[str, Any] | list[Any] | bytes | None = None, **keys: Any) -> Path:
        """Write ``<name>.json`` at the server, renamed in; a record without ``content_hash`` gets the name as one."""
        path = self.server_path / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(record, bytes):
            data = record
        elif isinstance(record, list):
            data = json.dumps(record).encode()
        else:
            data = json.dumps({"content_hash": name, **(record or {}), **keys}).encode()
        temporary = path.with_suffix(".part")
        temporary.write_bytes(data)
        os.replace(temporary, path)
        return path

    def remove(self, name: str) -> None:
        """Remove ``<name>.json`` at the server."""
        (self.server_path / f"{name}.json").unlink()

    def sync(self) -> None:
        """Copy the metadir to the client as a sync tool would, ``local/`` left out."""
        copy_metadir(self.server_path, self.client_path, without=() if self.log else LOG)

    def publish(self, **options: Any) -> GenerateReport:
        """Generate at the server and sync."""
        report = self.server.generate(**options)
        self.sync()
        return report

    def deliver(self, **options: Any) -> UpdateReport:
        """Generate, sync and update."""
        self.publish()
        return self.client.update(**options)

    def client_files(self) -> dict[str, dict[str, Any]]:
        """What the client sees of every alive file: the remote's metadata with its own values over it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OutdatedWarning)
            return {file.unique_value: dict(file) for file in self.client.files}

    def close(self) -> None:
        """Close both metadirs."""
        self.server.close()
        self.client.close()


LOG = ("changes", "head.json", "setaside.json.gz")
"""What of a metadir is the change log."""


def copy_metadir(source: Path, target: Path, *, without: Sequence[str] = ()) -> None:
    """Make the target's metadir what the source's is, ``local/`` left out and left alone; files are renamed in.

    Args:
        without: names in the metadir that are left out as well.

    What vanishes meanwhile, as the temporary files of a store that is written just now do, is left out, as by any sync tool.
    """
    wanted = {
        path.relative_to(source / "_mmmeta")
        for path in (source / "_mmmeta").rglob("*")
        if path.is_file() and path.relative_to(source / "_mmmeta").parts[0] not in ("local", *without)
    }
    metadir = target / "_mmmeta"
    for relative in wanted:
        destination = metadir / relative
        destination.parent.mkdir(parents=True, exist_ok=True)
        temporary = destination.with_name(f".{destination.name}.sync")
        with suppress(FileNotFoundError):
            shutil.copy2(source / "_mmmeta" / relative, temporary)
            os.replace(temporary, destination)
    for path in metadir.rglob("*"):
        relative = path.relative_to(metadir)
        if path.is_file() and relative.parts[0] != "local" and relative not in wanted:
            path.unlink()


def everything(folder: Path) -> dict[str, bytes]:
    """All files below a folder with their content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def opened(path: Path, *, state: bool) -> Metadir:
    """An empty metadir that reads the state db or meta.db."""
    metadir = Metadir(path, server=True)
    metadir.reads_state = state  # type: ignore[attr-defined]
    return metadir


def fill(metadir: Metadir, *rows: dict[str, Any], **named: Any) -> None:
    """Insert rows; a name is the unique value of a file whose key ``x`` has that value."""
    metadir.files.insert_many([*rows, *({"content_hash": name, "x": value} for name, value in named.items())])
    if metadir.reads_state:  # type: ignore[attr-defined]
        metadir.update()


def deliver(archive: Archive, *names: str, **keys: Any) -> None:
    """Write these files with the same keys, publish them, and merge them at the client."""
    for name in names:
        archive.write(name, keys)
    archive.deliver()


def nothing(file: File) -> None:
    """An action that succeeds."""


def fail_b(file: File) -> None:
    """An action that fails for the file b."""
    if file.unique_value == "b":
        raise ValueError("not b")


def drop_log(metadir: Path) -> None:
    """Take the change log away, as a sync that leaves it out: meta.db is all that a client has then."""
    (metadir / "head.json").unlink()
    shutil.rmtree(metadir / "changes")
