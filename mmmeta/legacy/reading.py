"""Which kind of old metadir lies somewhere, and all that it holds, read without changing it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from mmmeta.errors import FormatError, LegacyMetadirError, MetadirNotFoundError
from mmmeta.filters import All
from mmmeta.layout import STATE_DB, Layout, why_misplaced
from mmmeta.legacy.config import OldConfig, read_config
from mmmeta.legacy.csvs import csv_files, read_csvs
from mmmeta.legacy.databases import ONLY_STATE, has_files, read_metadata, read_state
from mmmeta.legacy.old import Doubts, OldFile, OldMetadata, OldState
from mmmeta.legacy.store import read_store
from mmmeta.metadata.database import MetadataDatabase
from mmmeta.metadata.db import metadata_catalog
from mmmeta.sqlite.foreign import ForeignDatabase, foreign_database
from mmmeta.store.text import StoreValue
from mmmeta.values import SEPARATOR
from mmmeta.writing import has_our_tables

OLDER = "files only in the meta.db of mmmeta 0.3 that lies beside the CSVs of 0.4; they were put into the metadata"
NOT_TODAYS = "files of the old state db that are not in the metadata of today, with what was set on them"


@dataclass
class OldMetadir:
    """All that an old metadir holds.

    Attributes:
        source: the metadir itself.
        version: which versions wrote it.
        config: what its config.yml said.
        metadata: what the server had published.
        state: what the client had; None where nobody was one.
        store: what was in the store.
        has_todays: whether a sync has brought a metadata db of today beside the old state db.
        doubts: what is ambiguous.
        notes: what is to be told besides.
    """

    source: str
    version: str
    config: OldConfig
    metadata: OldMetadata
    state: OldState | None
    store: dict[str, StoreValue]
    has_todays: bool = False
    doubts: Doubts = field(default_factory=Doubts)
    notes: list[str] = field(default_factory=list)


def read_old(layout: Layout, now: datetime) -> OldMetadir:
    """Read an old metadir; its databases are copied away first.

    Args:
        now: aware UTC.

    Raises:
        MetadirNotFoundError: there is no metadir.
        FormatError: there is one of today, or one that holds nothing.
        LegacyMetadirError, ForeignDatabaseError, ConfigError: it cannot be read.
    """
    metadir = layout.metadir
    if not os.path.isdir(metadir):
        raise MetadirNotFoundError(why_misplaced(layout.base) or f"there is no metadir at {layout.base}: no {metadir}")
    doubts = Doubts()
    with ExitStack() as opened:
        meta_db = _opened(opened, layout.meta_db)
        state_db = _opened(opened, metadir / "state.db")
        if state_db is not None and (not has_files(state_db) or has_our_tables(state_db.tables)):
            state_db = None  # of somebody who only looked, or today's, put there by MMMETA_STATE
        csvs = csv_files(metadir)
        if meta_db is not None and has_our_tables(meta_db.tables):
            if state_db is None:
                raise FormatError(f"{metadir} is a metadir of this version: there is nothing to migrate")
            return _beside_todays(layout, state_db, doubts, now)
        if meta_db is not None and meta_db.tables and not has_files(meta_db):
            names = ", ".join(sorted(meta_db.tables))
            raise LegacyMetadirError(f"{meta_db.path} is of another program (tables: {names}); it is left as it is")
        config = read_config(layout.config)
        metadata = OldMetadata(config.unique)
        if meta_db is not None and has_files(meta_db):
            metadata = read_metadata(meta_db, config.unique, doubts)
        elif meta_db is not None and not csvs and state_db is None:
            raise LegacyMetadirError(
                f"{meta_db.path} has no tables: its write-ahead log (meta.db-wal) did not come along, or nothing was ever "
                "written into it; sync it once more with its log"
            )
        if csvs:
            metadata = _over(metadata, read_csvs(csvs, config.unique, doubts), doubts)
        if not csvs and meta_db is None and state_db is None:
            raise FormatError(f"{metadir} holds nothing of mmmeta 0.1-0.4: no meta.db, no state.db, no CSVs in db/")
        state = None if state_db is None else read_state(state_db, metadata, doubts)
    notes = list(config.notes)
    store = read_store(metadir / "_store", doubts)
    version = "0.4" if csvs else "0.1-0.3"
    return OldMetadir(str(metadir), version, config, metadata, state, store, doubts=doubts, notes=notes)


def _opened(opened: ExitStack, path: Path) -> ForeignDatabase | None:
    if not os.path.lexists(path):
        return None
    return opened.enter_context(foreign_database(path))


def _over(older: OldMetadata, newer: OldMetadata, doubts: Doubts) -> OldMetadata:
    """The CSVs of 0.4 and what a meta.db has beside: who upgraded from 0.3 has both."""
    for file, old in older.files.items():
        if file not in newer.files:
            doubts.add(OLDER, file)
            newer.files[file] = old
    newer.columns |= older.columns
    return newer


def _beside_todays(layout: Layout, state_db: ForeignDatabase, doubts: Doubts, now: datetime) -> OldMetadir:
    """An old state db in whose metadir a sync has put the metadata of a server that was migrated already."""
    if os.path.lexists(layout.local / STATE_DB):
        raise LegacyMetadirError(
            f"beside {state_db.path} there is a state db of today, {layout.local / STATE_DB}: nobody can tell which of them "
            "counts. Move the one of today away (`mmmeta state backup` keeps it), or the old one"
        )
    database = MetadataDatabase(layout.meta_db, read_only=True)
    try:
        catalog = metadata_catalog(database, now)
        numbered = "id" not in catalog.keys
        metadata = OldMetadata(catalog.unique, columns=_old_names(catalog.keys), numbered=numbered)
        for row in catalog.rows(All(()), deleted=None):
            # Of another time than the old state db's, so that none of its values is compared.
            metadata.files[row.unique_value] = OldFile({}, stamp="")
    finally:
        database.close()
    state = read_state(state_db, metadata, doubts)
    doubts.pop(ONLY_STATE, None)
    for file in state.only:
        doubts.add(NOT_TODAYS, file, left=True)
        state.own.pop(file, None)
    config = OldConfig(catalog.unique)
    return OldMetadir(str(layout.metadir), "0.1-0.4", config, metadata, state, {}, has_todays=True, doubts=doubts)


def _old_names(keys: list[str]) -> set[str]:
    """What keys of today were called in the old databases: with underscores, or the object that they are in."""
    return {name for key in keys for name in (key, key.replace("-", "_"), key.partition(SEPARATOR)[0])}
