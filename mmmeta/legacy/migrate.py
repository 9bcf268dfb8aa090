"""A metadir of today out of one of mmmeta 0.1-0.4, beside it: nothing of the old one is changed.

It is made aside and gets its name when it is whole. What is written goes the ways of today's verbs: a transaction of the
metadata db, a publication, an update, values that the client sets.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmmeta.clock import Clock
from mmmeta.errors import LegacyMetadirError, remedy_of
from mmmeta.fingerprints import fingerprint
from mmmeta.layout import METADIR, Layout
from mmmeta.legacy.old import Doubt, Doubts, OldFile, OldMetadata
from mmmeta.legacy.reading import OldMetadir, read_old
from mmmeta.legacy.store import write_store
from mmmeta.metadata.server import Server
from mmmeta.metadata.writer import MetadataWriter, Record
from mmmeta.reports import Progress
from mmmeta.state.state import State
from mmmeta.state.update import UpdateOptions
from mmmeta.store.store import Store
from mmmeta.writing import make_folder, write_atomic

MIGRATED = f"{METADIR}.migrated"
"""The folder beside the old metadir that the new one is made in; a base path, like that of the old one."""

_PART = f".{MIGRATED}.part"
"""What it is called until it is whole; a killed migration leaves it, and the next one begins anew."""

_NOT_TODAYS = ("local", "db", "state.db", "state.db-wal", "state.db-shm", "state.db-journal")
"""Of a metadir into which a sync has put today's metadata: what is not the remote's."""

UNDERSCORES = (
    "keys with an underscore, which 0.3 and 0.4 also wrote for a hyphen; generate names them as metadata files do"
)


@dataclass(frozen=True)
class Migration:
    """What migrating did, or would do.

    Attributes:
        old, new: the base paths.
        version: which versions wrote the old metadir.
        is_server: metadata is written in the new one.
        is_client: it has a state db.
        files: how many there are; of these
        deleted: marked deleted,
        from_state: which only the old state db had.
        own: the client's own keys, each with how many files have it; ``own_files`` have any.
        flags: those of them that are true of some file.
        store: how many values of the store came along.
        doubts: what is ambiguous or stayed behind, each with its count and the first names.
        notes: what else is to be said.
    """

    old: str
    new: str
    version: str
    is_server: bool
    is_client: bool
    files: int
    deleted: int
    from_state: int
    own_files: int
    store: int
    dry_run: bool
    own: dict[str, int] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    doubts: dict[str, Doubt] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def left_behind(self) -> bool:
        """Whether something could not be taken along."""
        return any(doubt.left for doubt in self.doubts.values())


def migrate(
    layout: Layout,
    clock: Clock,
    *,
    server: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Migration:
    """Make a metadir of today beside an old one.

    Args:
        layout: of the old one.
        server: metadata is written here, although there is a client's state db.
        dry_run: count everything, write nothing.
        progress: called with what is done, how many, and of how many.

    Raises:
        MetadirNotFoundError, FormatError: there is nothing of mmmeta 0.1-0.4.
        LegacyMetadirError: it cannot be read as a whole, or was migrated before.
        ConfigError, ForeignDatabaseError, MetadataDbError, StateDbError, StoreAccessError
    """
    target = layout.base / MIGRATED
    if os.path.lexists(target):
        raise LegacyMetadirError(
            f"{target} is there already, made by an earlier migrate: nothing was done. Put it into the place of the old one "
            "(docs/operations.md), or move it away to make it anew"
        )
    old = read_old(layout, clock())
    doubts = old.doubts
    files = {} if old.has_todays else {**old.metadata.files, **(old.state.only if old.state else {})}
    if old.has_todays:
        count, deleted = len(old.metadata.files), 0
    else:
        count, deleted = len(files), sum(file.deleted is not None for file in files.values())
        if old.metadata.underscored:
            _doubt_names(old.metadata, doubts)
    own = old.state.own if old.state else {}
    is_client = old.state is not None and bool(old.state.merged or own)
    is_server = not old.has_todays and (server or not is_client)
    report = Migration(
        old=str(layout.metadir),
        new=str(target / METADIR),
        version=old.version,
        is_server=is_server,
        is_client=is_client,
        files=count,
        deleted=deleted,
        from_state=len(old.state.only) if old.state and not old.has_todays else 0,
        own_files=len(own),
        store=len(old.store),
        dry_run=dry_run,
        own=old.state.keys if old.state else {},
        flags=tuple(old.state.flags) if old.state else (),
        doubts=doubts,
        notes=tuple(old.notes),
    )
    if dry_run:
        return report
    with _aside(layout.base, target) as base:
        new = Layout.at(base)
        _write(new, old, files, clock, is_server=is_server, is_client=is_client, progress=progress)
    return replace(report, notes=tuple(old.notes))


def _write(
    layout: Layout,
    old: OldMetadir,
    files: dict[str, OldFile],
    clock: Clock,
    *,
    is_server: bool,
    is_client: bool,
    progress: Progress | None,
) -> None:
    store = Store(layout, clock)
    server = Server(layout, store, clock, meant=is_server)
    try:
        if old.has_todays:
            source = Path(old.source)
            shutil.copytree(source, layout.metadir, ignore=lambda folder, names: _left_out(source, folder, names))
        else:
            if old.config.text is not None:
                write_atomic(layout.config, old.config.text.encode())
            with Server(layout, store, clock, meant=True).write(lambda writer: None) as writer:
                _put(writer, files, old.metadata.unique, progress)
            write_store(store, old.store)
            if is_server:
                server.publisher.publish()
            else:
                layout.server_mark.unlink()  # the writer has marked it, and a client writes no metadata
        if is_client:
            _keep_state(State(server, store, clock, lambda state: None), old)
    finally:
        server.close()


def _put(writer: MetadataWriter, files: dict[str, OldFile], unique: str, progress: Progress | None) -> None:
    """Write the files into the metadata db."""
    writer.allow_mass_delete = True
    for done, (file, old) in enumerate(files.items(), 1):
        values = old.values if old.values.get(unique) else {unique: file, **old.values}
        record = Record(file, values, fingerprint(values), added=old.added, updated=old.updated)
        writer.put(record, None)
        if progress is not None and not done % 1_000:
            progress("writing metadata", done, len(files))
    for file, old in files.items():
        if old.deleted is not None:
            writer.delete([file], old.deleted, at=old.deleted_at)


def _keep_state(state: State, old: OldMetadir) -> None:
    """Merge, and set what the client had set."""
    assert old.state is not None
    try:
        state.merge(UpdateOptions(allow_mass_delete=True))
        state.save_many(old.state.own)
        state.write_status()
    finally:
        state.close()


def _left_out(source: Path, folder: str, names: list[str]) -> set[str]:
    return {name for name in names if name in _NOT_TODAYS} if Path(folder) == source else set()


def _doubt_names(metadata: OldMetadata, doubts: Doubts) -> None:
    keys = {key for key in metadata.columns if "_" in key[1:]} - {metadata.unique, "content_hash", "_file_name"}
    for key in sorted(keys):
        doubts.add(UNDERSCORES, key)


@contextmanager
def _aside(base: Path, target: Path) -> Iterator[Path]:
    """A folder that gets its name when the block has come to its end; nobody else migrates here meanwhile."""
    part = base / _PART
    try:
        handle = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise LegacyMetadirError(f"{base} cannot be opened: {error.strerror}; {remedy_of(error)}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LegacyMetadirError(f"another migrate is at work in {base}: wait for it") from error
        except OSError:
            pass  # a file system that knows no locks
        try:
            _remove(part)
            make_folder(part)
        except OSError as error:
            raise LegacyMetadirError(
                f"{part} cannot be made: {error.strerror}; the new metadir is made beside the old one: {remedy_of(error)}"
            ) from error
        try:
            try:
                yield part
                os.rename(part, target)
            except OSError as error:
                raise LegacyMetadirError(
                    f"{error.filename2 or error.filename or target} cannot be written: {error.strerror or error}; {remedy_of(error)}. Nothing was "
                    "changed, migrate again"
                ) from error
            with suppress(OSError):
                os.fsync(handle)
        except BaseException:
            with suppress(OSError):
                _remove(part)
            raise
    finally:
        os.close(handle)


def _remove(part: Path) -> None:
    """Take away what a killed migration has left."""
    if part.is_symlink() or not part.is_dir():
        part.unlink(missing_ok=True)
    else:
        shutil.rmtree(part)
