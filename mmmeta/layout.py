"""Where everything lies on disk.

<base path>/
  _mmmeta/
    config.yml            what counts as metadata, URL templates (optional)
    meta.db               the metadata db; written by the server only
    head.json, changes/   the change log, which leads to the same
    setaside.json.gz      what generate could not take in
    _store/<key>          one small text file a key, synced
    local/                never synced
      state.db            the client's state db
      status.json         what the sensor reads
      store/<key>         store keys that begin with ``local_``
      runs/<run id>       signs of life of Dagster runs
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
<state>.runs/<run id>
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path

from mmmeta.errors import StateDbError
from mmmeta.masking import has_stray_at
from mmmeta.urls import why_no_path, without_blanks

METADIR = "_mmmeta"
"""Name of the folder that gets synced. Changing it orphans every existing archive."""

PARTS = "_mmparts"
"""Name of the folder below a download target where documents lie until they are whole. Eight letters, so that file systems
with short names have no second one for it."""

STATE_DB = "state.db"

SHARED = ("postgresql+psycopg", "postgresql", "postgres")
"""Kinds of URLs of a state that several machines share."""

SHARED_SCHEMA = "mmmeta"
"""Where its tables are unless the URL says ``?schema=``; metadirs that share a database have one each."""

SQLITE = re.compile(r"(sqlite(?:\+\w+)?)://(?:/(?P<path>[^?]*))?(\?.*)?", re.DOTALL)
"""A URL of an SQLite file."""

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
        ledger: URL of the database that several machines share, where the ledger is in one; else it is in the state db.
    """

    base: Path
    files_root: Path
    state: Path
    ledger: str | None = field(default=None, repr=False)

    @classmethod
    def at(
        cls, base: str | os.PathLike[str], files_root: str | os.PathLike[str] | None = None, state: str | None = None
    ) -> Layout:
        """The layout below a base path; ``state`` is a path (SQLite), ``local/state.db`` unless given, or a URL."""
        root = Path(os.path.abspath(os.path.expanduser(base)))
        files = Path(os.path.abspath(os.path.expanduser(files_root))) if files_root is not None else root
        shared = state if is_shared(state) else None
        path = None if shared else state
        state_path = Path(os.path.abspath(os.path.expanduser(path))) if path else root / METADIR / "local" / STATE_DB
        return cls(root, files, state_path, shared)

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
    def head(self) -> Path:
        """What names the content of the metadata db, and the segments of the change log."""
        return self.metadir / "head.json"

    @cached_property
    def changes(self) -> Path:
        """Folder of the segments of the change log."""
        return self.metadir / "changes"

    @cached_property
    def set_aside(self) -> Path:
        return self.metadir / "setaside.json.gz"

    @property
    def has_metadata(self) -> bool:
        """Whether there is something to merge: a metadata db, or the change log that leads to it."""
        return os.path.lexists(self.meta_db) or os.path.lexists(self.head)

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

    @cached_property
    def runs(self) -> Path:
        """Folder of the signs of life of Dagster runs."""
        return self._of_state("runs")

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

    @cached_property
    def client_mark(self) -> Path:
        return self.local / "client"


_LOOKED_INTO = 1_000
"""Folders of a base path that are looked into for a metadir that is not where it belongs."""


def why_misplaced(base: Path) -> str | None:
    """That a metadir lies beside the place where it belongs, as a sync puts it that was told the wrong folder; a part of a
    sentence that says what to do, None where nothing is seen of that."""
    metadir = base / METADIR
    if _is_metadir(metadir / METADIR):
        return (
            f"{metadir / METADIR} is a metadir within the metadir: the sync goes one folder too deep (rsync wants a slash "
            f"at the end of its source: …/{METADIR}/). Mend it, and remove that folder"
        )
    if os.path.isdir(metadir):
        return None
    if base.name == METADIR:
        return f"{base} is the metadir itself: name the folder that holds it, {base.parent}"
    if _is_metadir(base):
        return f"{base} holds what belongs into {metadir}: the sync leaves the folder {METADIR} out"
    with suppress(OSError), os.scandir(base) as entries:
        for entry in islice(entries, _LOOKED_INTO):
            if _is_metadir(os.path.join(entry.path, METADIR)):
                return f"there is a metadir in {entry.path}: name that folder, or let the sync copy what is in it into {base}"
    return None


def _is_metadir(folder: str | Path) -> bool:
    """Whether a folder holds what a client merges."""
    return any(os.path.exists(os.path.join(folder, name)) for name in ("meta.db", "head.json"))


def require_plain(path: Path) -> None:
    """Refuse a path that leads through a link, or to something else than a file or a folder, below a metadir.

    What lies there is brought by a sync: a link would lead to another archive's files, or to any file of this machine; a
    pipe would wait for ever. The metadir itself may be a link that a person has made. What is not there is fine.

    Raises:
        OSError: says which part of the path it is.
    """
    for part in _parts_below(os.fspath(path)):
        try:
            mode = os.lstat(part).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return
        if stat.S_ISLNK(mode):
            name = os.path.basename(part)
            raise OSError(errno.ELOOP, f"{name} in the metadir is a link, and those are not followed there", str(path))
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise OSError(errno.EINVAL, f"{os.path.basename(part)} in the metadir is no regular file", str(path))


@lru_cache(maxsize=1024)
def _parts_below(path: str) -> tuple[str, ...]:
    """The path and the folders above it that lie below a metadir, the outermost first; none where it does not lie in one."""
    parts = Path(path).parts
    if METADIR not in parts:
        return ()
    depth = len(parts) - parts[::-1].index(METADIR)
    return tuple(str(Path(*parts[:end])) for end in range(depth + 1, len(parts) + 1))


NO_PLAIN_FILE = (errno.EFBIG, errno.EINVAL, errno.ELOOP)
"""What ``read_plain`` gives where the file is to blame (its kind, its size, a link), and not a disk or permissions."""


def open_plain(path: Path) -> int:
    """Open a regular file for reading, below a metadir as ``require_plain`` wants it; gives the descriptor.

    Raises:
        OSError: it is not there, not a regular file, or cannot be read.
    """
    require_plain(path)
    followed = 0 if METADIR not in path.parts else os.O_NOFOLLOW
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | followed)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    return handle


def read_plain(path: Path, most: int) -> bytes:
    """The content of a small file; no more of it is read than it may have.

    Below a metadir it is opened as ``open_plain`` does; elsewhere a person has named it, and it may be a pipe.

    Args:
        most: bytes.

    Raises:
        OSError: as ``open_plain``, or it has more bytes; it names the file.
    """
    handle = open_plain(path) if METADIR in path.parts else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            content = b"" if size > most else file.read(most + 1)
        except OSError as error:
            error.filename = str(path)
            raise
        if size > most or len(content) > most:
            raise OSError(errno.EFBIG, f"has more than {most:,} bytes, which nothing of its kind has", str(path))
    return content


def state_path(
    state: str | os.PathLike[str] | None, what: str = f"the state (an argument, or {STATE_ENVIRONMENT})"
) -> str | None:
    """The state db's path, out of a path or an ``sqlite:///`` URL; the URL of a database that machines share as it is.

    Args:
        what: names it in the error: where it was read.

    Raises:
        StateDbError: another kind of database, or nothing that is understood.
    """
    if state is None:
        return None
    try:
        text = read_state(os.fspath(state))
        if text.lower().startswith("file://"):
            raise ValueError("is a URL of a file. Give its path")
    except ValueError as error:
        raise StateDbError(f"{what} {error}") from None
    return text


def read_state(text: str) -> str:
    """What a state is, as somebody has written it: a path, a ``file://`` URL, or the URL of a database that machines share.

    Raises:
        ValueError: says what is wrong, and not what was written: that may hold a password.
    """
    text = without_blanks(text)
    if not text.strip():
        raise ValueError("is empty. Give a path, or leave it out")
    if is_shared(text):
        if has_stray_at(text):
            raise ValueError("has more than one @ before the host: an @ in a user name or password is written %40")
        return text
    if text.lower().startswith("file://"):
        return text
    if match := SQLITE.fullmatch(text):
        if match["path"] in (None, "", ":memory:"):
            raise ValueError("is in memory, where it would be lost. Give a file: sqlite:///state.db")
        return match["path"]
    if (reason := why_no_path(text)) is not None:
        raise ValueError(f"{reason}. SQLite or PostgreSQL keeps the state: a path, sqlite:///path, or {SHARED[0]}://…")
    return text


def is_shared(state: str | None) -> bool:
    """Whether a state is in a database that several machines share, and not in a file."""
    return state is not None and state.partition("://")[0] in SHARED
