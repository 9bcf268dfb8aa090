"""The server's side of one metadir: who may write the metadata db, and each write of it.

What the store says of the metadata db is derived; who writes brings it up to date by ``publisher``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mmmeta.catalog.catalog import Catalog
from mmmeta.clock import Clock, to_text
from mmmeta.config.model import Config, load_config
from mmmeta.errors import MetadataDbError, MetadirNotFoundError, MmmetaError, ReadOnlyMetadirError, remedy_of
from mmmeta.layout import METADIR, Layout, why_misplaced
from mmmeta.metadata.changelog.sources import Content, Source, sources
from mmmeta.metadata.database import MetadataDatabase
from mmmeta.metadata.db import Head, empty_catalog, metadata_catalog
from mmmeta.metadata.publication import Publisher
from mmmeta.metadata.records import KeyFilter
from mmmeta.metadata.rows import Bulk
from mmmeta.metadata.writer import MetadataWriter
from mmmeta.store.store import Store
from mmmeta.writing import refuse_legacy, write_atomic

Written = Callable[[MetadataWriter], None]
"""Called with the writer of a transaction that was just committed."""


class Server:
    """The metadata db of one metadir.

    Args:
        meant: write metadata although the metadir began as a client's synced copy.

    Attributes:
        database: to write, and to read where the metadata db is this server's own.
        reader: only reads; nothing is ever created through it.
        publisher: keeps the store at what the metadata db holds.
    """

    def __init__(self, layout: Layout, store: Store, clock: Clock, *, meant: bool) -> None:
        self.layout = layout
        self.clock = clock
        self.database: MetadataDatabase = MetadataDatabase(layout.meta_db, server_mark=layout.server_mark)
        self.reader: MetadataDatabase = MetadataDatabase(layout.meta_db, server_mark=layout.server_mark, read_only=True)
        self.publisher: Publisher = Publisher(layout, store, self.reader)
        self._meant = meant
        self._bulk: Bulk | None = None
        self._last_writer: MetadataWriter | None = None
        self._config: Config | None = None
        self._key_filter: KeyFilter | None = None

    def close(self) -> None:
        """Publish what waits, and let go of the databases."""
        self.publisher.flush()
        self._last_writer = None
        self.database.close()
        self.reader.close()

    # What config.yml says

    @property
    def config(self) -> Config:
        """As it was read last."""
        if self._config is None:
            self.refuse_legacy()  # an old one's config.yml has other keys, which shall not be what is said
            self._config = load_config(self.layout.config)
        return self._config

    def reload_config(self) -> None:
        """Read config.yml again: a sync may have brought another."""
        config = load_config(self.layout.config)
        if config is not self._config and config != self._config:
            self._config = config
            self._key_filter = None

    @property
    def key_filter(self) -> KeyFilter:
        """Which keys are kept."""
        if self._key_filter is None:
            self._key_filter = KeyFilter(self.config)
        return self._key_filter

    # Reading

    def head(self) -> Head:
        """The metadata db's head.

        Raises:
            MetadirNotFoundError, MetadataDbError, LegacyMetadirError: it is not there, or cannot be read.
        """
        self.refuse_legacy()
        self.recover()
        return self.sources()[0].head

    def sources(self, merged: Content | None = None) -> list[Source]:
        """What an update reads; see ``changelog.sources``."""
        return sources(self.layout, self.reader, merged, own=self.is_marked or self._meant)

    def readable(self) -> MetadataDatabase:
        """The metadata db to read files from: one that may also be written where it is this server's own."""
        self.refuse_legacy()
        self.recover()
        return self.database if self.is_marked or self._meant else self.reader

    def catalog(self) -> Catalog:
        """The files of the metadata db; none where a server has not written the first one yet."""
        if self.is_fresh:
            return empty_catalog(self.database.path, self.config.metadata.unique, self.clock())
        return metadata_catalog(self.readable(), self.clock())

    def prepare(self) -> None:
        """Make the metadata db ready to be merged: publish what waits, read config.yml again, roll back what a killed
        writer left.

        Raises:
            ConfigError, LegacyMetadirError, MetadataDbError
        """
        self.publisher.flush()
        self.refuse_legacy()
        self.reload_config()
        self.recover()

    def refuse_legacy(self) -> None:
        """Leave a metadir of mmmeta 0.1-0.4 untouched."""
        refuse_legacy(self.layout.metadir)

    def recover(self) -> None:
        """At a server, roll back what a killed writer left; a client's copy is not touched."""
        if self.database.has_hot_journal() and (self.is_marked or self._meant):
            self.database.recover()

    # Who may write

    @property
    def is_marked(self) -> bool:
        """Whether metadata was written here."""
        return self.layout.server_mark.exists()

    @property
    def is_fresh(self) -> bool:
        """Whether the first file is still to be written here: a folder with nothing in its metadir that a server has
        written or a sync has brought, but for config.yml. Where a metadata db was and is gone, it is not fresh."""
        self.refuse_legacy()
        layout = self.layout
        if self.is_marked or self.database.path.exists() or not layout.base.is_dir():
            return False
        if self._followed:
            return False
        there = {path.name for path in layout.metadir.iterdir()} if layout.metadir.is_dir() else set()
        return self._meant or there <= {layout.config.name, layout.local.name}

    @property
    def _followed(self) -> bool:
        """Whether a client has merged what is here."""
        layout = self.layout
        return layout.status.exists() or layout.state.exists() or layout.client_mark.exists()

    def require(self) -> bool:
        """Refuse to write metadata into a client's copy; whether this is marked as a server already. Writes nothing.

        Raises:
            ReadOnlyMetadirError, LegacyMetadirError
            MetadirNotFoundError: the base path is a metadir itself, into which another one would be made.
        """
        self.refuse_legacy()
        if self.is_marked:
            return True
        layout = self.layout
        if layout.base.name == METADIR:
            raise MetadirNotFoundError(why_misplaced(layout.base) or f"{layout.base} is no place for a metadir")
        if not self._meant and self._followed:
            raise ReadOnlyMetadirError(
                f"{layout.metadir} is a client's copy: metadata written here would part from the remote's. Write at "
                "the server, or, if this is the server, open it with mmmeta(path, server=True)"
            )
        if layout.head.exists() and not self.database.exists() and not self._meant:
            raise ReadOnlyMetadirError(
                f"{layout.metadir} holds the change log of a metadata db that is written elsewhere: metadata written here would "
                "part from it. Write at the server, or, if this is the server, open it with mmmeta(path, server=True)"
            )
        if self.database.has_content():
            self.head()  # refuses what this version cannot write before anything is marked
        return False

    def mark(self) -> None:
        """Mark this as a server, where metadata is written."""
        if self.is_marked:
            return
        try:
            write_atomic(self.layout.server_mark, b"metadata is written here\n")
        except OSError as error:
            raise MetadataDbError(
                f"{self.layout.server_mark} cannot be written: {error.strerror}; {remedy_of(error)}"
            ) from error

    # Writing

    @contextmanager
    def write(self, written: Written) -> Iterator[MetadataWriter]:
        """A transaction of the metadata db; within ``bulk`` it is that block's, and so is what is called when it ends.

        Raises:
            ReadOnlyMetadirError, LegacyMetadirError, ConfigError, MetadataDbError
        """
        if self._bulk is not None and self._bulk.is_mine():
            with self._bulk.part():
                yield self._bulk.writer
            return
        marked = self.require()
        self.reload_config()  # one that is not valid shall not leave half a server
        with self.database.atomic() as connection:
            writer = self._writer(connection)
            yield writer
            writer.finish()
            if not marked:
                self.mark()  # before the commit, and not by a write that is refused
        self._last_writer = (
            writer  # not before it is committed: what it remembers would be of tables that are not there
        )
        written(writer)

    @contextmanager
    def bulk(self, written: Written) -> Iterator[None]:
        """One transaction for all writing methods in a block; see ``Metadir.bulk``. A block within it joins."""
        if self._bulk is not None and self._bulk.is_mine():
            yield
            return
        self.publisher.flush()
        self.require()
        self.reload_config()
        with self.database.atomic() as connection:
            bulk = self._bulk = Bulk(self._writer(connection))
            try:
                yield
            finally:
                self._bulk = None
            bulk.finish()
            self.mark()
        self._last_writer = bulk.writer
        written(bulk.writer)

    def refuse_in_bulk(self, verb: str) -> None:
        """Refuse a verb that writes the metadata db in a transaction of its own."""
        if self._bulk is not None and self._bulk.is_mine():
            raise MmmetaError(
                f"{verb} cannot run within bulk(): its transaction has not ended; call it after the block"
            )

    def _writer(self, connection: sqlite3.Connection) -> MetadataWriter:
        """A writer for the transaction that just began: the last one where nobody else has written since, for reading
        the registry again costs as much as writing a row."""
        unique, now = self.config.metadata.unique, to_text(self.clock())
        writer, self._last_writer = self._last_writer, None
        if writer is None or not writer.resume(connection, unique, now):
            writer = MetadataWriter(connection, self.database, unique, now)
        return writer
