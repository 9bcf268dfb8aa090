"""Where everything lies on disk.

<base path>/
  _mmmeta/
    config.yml            what counts as metadata, URL templates (optional)
    meta.db               the metadata db; written by the server only
    _store/<key>          one small text file a key, synced
    local/                never synced
      state.db            the client's state db
      status.json         what the sensor reads
      store/<key>         store keys that begin with ``local_``
      scan.db             what generate saw; deletable at any time
      server              mark: metadata is written here
      announced           id, revision and digest of the metadata db that the server's store speaks of
      client              mark: a state db that lies elsewhere follows this copy
<files root>/**/*.json    the metadata files; the base path unless given

A state db in another place has what belongs to it beside it, so that several may follow one metadir:
<state>
<state>.status.json
<state>.store/<key>
<state>.workers/<worker>
<state>.run.lock
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mmmeta.errors import LegacyMetadirError

METADIR = "_mmmeta"
"""Name of the folder that gets synced. Changing it orphans every existing archive."""

STATE_DB = "state.db"

STATE_ENVIRONMENT = "MMMETA_STATE"
PATH_ENVIRONMENT = "MMMETA"
FILES_ROOT_ENVIRONMENT = "MMMETA_FILES_ROOT"


@dataclass(frozen=True)
class Layout:
    """All paths of one metadir; nothing is created by making it.

    Attributes:
        base: absolute base path; ``_mmmeta`` lies below it.
        files_root: absolute folder with the metadata files.
        state: absolute path of the state db.
    """

    base: Path
    files_root: Path
    state: Path

    @classmethod
    def at(
        cls, base: str | os.PathLike[str], files_root: str | os.PathLike[str] | None = None, state: str | None = None
    ) -> Layout:
        """The layout below a base path; ``state`` is a path (SQLite), ``local/state.db`` unless given."""
        root = Path(os.path.abspath(os.path.expanduser(base)))
        files = Path(os.path.abspath(os.path.expanduser(files_root))) if files_root is not None else root
        state_path = Path(os.path.abspath(os.path.expanduser(state))) if state else root / METADIR / "local" / STATE_DB
        return cls(root, files, state_path)

    @cached_property
    def metadir(self) -> Path:
        return self.base / METADIR

    @cached_property
    def config(self) -> Path:
        return self.metadir / "config.yml"

    @cached_property
    def meta_db(self) -> Path:
        return self.metadir / "meta.db"

    @cached_property
    def store(self) -> Path:
        return self.metadir / "_store"

    @cached_property
    def local(self) -> Path:
        return self.metadir / "local"

    @cached_property
    def local_store(self) -> Path:
        return self._of_state("store")

    @cached_property
    def status(self) -> Path:
        return self._of_state("status.json")

    def _of_state(self, name: str) -> Path:
        """What belongs to the state db: in ``local/`` with it, or beside it where it lies elsewhere."""
        if self.state.parent == self.local and self.state.name == STATE_DB:
            return self.local / name
        return self.state.with_name(f"{self.state.name}.{name}")

    @cached_property
    def scan_db(self) -> Path:
        return self.local / "scan.db"

    @cached_property
    def workers(self) -> Path:
        """Folder of the locks of the workers that run jobs now."""
        return self._of_state("workers")

    @cached_property
    def run_lock(self) -> Path:
        """What ``mmmeta run --exclusive`` holds."""
        return self._of_state("run.lock")

    @cached_property
    def server_mark(self) -> Path:
        return self.local / "server"

    @cached_property
    def announced(self) -> Path:
        return self.local / "announced"

    def refuse_legacy(self) -> None:
        """Raise LegacyMetadirError where a metadir of mmmeta 0.1-0.4 lies, which is to stay as it is."""
        # A folder that may not be looked at is not taken for an old metadir; opening it says what is wrong.
        if os.path.exists(self.meta_db):
            return
        if os.path.exists(self.metadir / "state.db") or os.path.isdir(self.metadir / "db"):
            raise LegacyMetadirError(
                f"{self.metadir} was written by mmmeta 0.1-0.4. This version leaves it untouched; generate a new metadir in "
                "another folder"
            )

    @cached_property
    def client_mark(self) -> Path:
        return self.local / "client"


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader, a sync tool or a crash sees the old or the new content, never a part.

    Creates the folder where it is missing. The temporary file lies in the same folder and begins with a dot.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}.tmp")
    # Opened by hand and not by ``tempfile``, so that the umask decides who may read it.
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
