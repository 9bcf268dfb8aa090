"""``m.files``: a dataset table's interface over the metadata of all files.

Reading asks the state db once ``update()`` has run, and the metadata db before. Writing methods are the server's and go
to the metadata db.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from mmmeta.catalog import Catalog
from mmmeta.config import Config
from mmmeta.database import Database, quote_identifier
from mmmeta.errors import (
    DuplicateFileError,
    MmmetaError,
    UnknownKeyWarning,
    UnsupportedOperationError,
    ValueNotSupportedError,
    near_misses,
)
from mmmeta.file import File
from mmmeta.filters import Condition, parse
from mmmeta.generate import BY_HAND
from mmmeta.metadata_db import MetadataWriter
from mmmeta.records import KeyFilter, make_record
from mmmeta.values import clean, flatten

if TYPE_CHECKING:
    import dataset

REPLACED = "replaced by a file with another unique value"


class Backend(Protocol):
    """What ``Files`` needs of the metadir it belongs to."""

    @property
    def config(self) -> Config:
        """What config.yml says."""

    def catalog(self) -> Catalog:
        """Open the database that reading asks."""

    def database(self) -> Database:
        """The database that reading asks, for indexes."""

    def write(self) -> AbstractContextManager[MetadataWriter]:
        """A transaction of the metadata db that is published when it ends."""

    def save(self, unique_value: str, changed: dict[str, Any], removed: set[str]) -> None:
        """Write a file's own fields."""


class Files:
    """All files of a metadir; see the module."""

    name = "files"

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    # Reading

    def find(
        self,
        *where: Mapping[str, Any],
        _limit: int | None = None,
        _offset: int = 0,
        order_by: str | Sequence[str] | None = None,
        deleted: bool | None = False,
        _streamed: bool = False,
        _step: int | None = None,
        **filters: Any,
    ) -> Iterator[File]:
        """Yield the files that match all filters.

        A filter is ``key=value``, ``key=[values]`` or ``key={operator: value}`` with dataset's operators; keys that are
        not Python names go into a mapping: ``find({"publisher:name": "x", "$any": [...]})``. Comparisons are by type;
        a date matches every moment of that day; what is absent counts as ``False`` against ``True`` and ``False``.

        Args:
            where: filters as mappings.
            order_by: keys, ``-key`` for descending; otherwise files come in the order they were first published.
            deleted: True for the deleted ones, None for both.
            _streamed, _step: accepted for dataset's sake; rows are always fetched in chunks.

        Raises:
            FilterError: an operator or value that cannot be compared.

        Warns:
            UnknownKeyWarning: a filter on a key that no file has.
        """
        catalog = self._backend.catalog()
        condition = self._condition(catalog, where, filters)
        ordering = [order_by] if isinstance(order_by, str) else [name for name in order_by or () if name]
        for name in ordering:
            self._warn_unknown(catalog, [name.removeprefix("-")])
        rows = catalog.rows(condition, deleted=deleted, order_by=ordering, limit=_limit, offset=_offset)
        templates = self._backend.config.remote
        return (File(row, catalog.unique, templates, self._backend.save) for row in rows)

    def __call__(self, *where: Mapping[str, Any], **filters: Any) -> Iterator[File]:
        """The same as ``find``."""
        return self.find(*where, **filters)

    def find_one(self, *where: Mapping[str, Any], **filters: Any) -> File | None:
        """The first file that matches, or None."""
        return next(self.find(*where, **{**filters, "_limit": 1}), None)

    def all(self, *where: Mapping[str, Any], **filters: Any) -> Iterator[File]:
        """All files; filters as in ``find``."""
        return self.find(*where, **filters)

    def get(self, unique_value: str | int) -> File | None:
        """The file with this unique value, deleted or not; None if there is none."""
        catalog = self._backend.catalog()
        row = catalog.by_unique([str(unique_value)]).get(str(unique_value))
        return None if row is None else File(row, catalog.unique, self._backend.config.remote, self._backend.save)

    def count(self, *where: Mapping[str, Any], deleted: bool | None = False, **filters: Any) -> int:
        """How many files match."""
        catalog = self._backend.catalog()
        return catalog.count(self._condition(catalog, where, filters), deleted=deleted)

    def distinct(
        self,
        *keys: str,
        _limit: int | None = None,
        _offset: int | None = 0,
        deleted: bool | None = False,
        **filters: Any,
    ) -> Iterator[dict[str, Any]]:
        """Each combination of values of these keys once, as ``{key: value}``; what is absent comes as None."""
        if not keys or not all(isinstance(key, str) for key in keys):
            raise UnsupportedOperationError("distinct takes names of keys; filters go by name: distinct('a', b=1)")
        catalog = self._backend.catalog()
        condition = self._condition(catalog, (), filters)
        self._warn_unknown(catalog, keys)
        return iter(catalog.distinct(keys, condition, deleted=deleted, limit=_limit, offset=_offset or 0))

    @property
    def columns(self) -> list[str]:
        """All keys that files have, the remote's and the client's."""
        return self._backend.catalog().keys

    def has_column(self, column: str) -> bool:
        """Whether any file may have this key."""
        return column in self._backend.catalog().keys

    @property
    def exists(self) -> bool:
        """Whether there is a database to read."""
        return self._backend.database().exists()

    def __iter__(self) -> Iterator[File]:
        return self.find()

    def __len__(self) -> int:
        return self.count()

    def __contains__(self, file: object) -> bool:
        """Whether there is a file, not deleted, with this unique value (a ``File`` is taken for its own)."""
        value = file.unique_value if isinstance(file, File) else file
        if not isinstance(value, (str, int)):
            return False
        found = self.get(value)
        return found is not None and not found.deleted

    # Indexes

    def create_index(self, columns: str | Sequence[str], name: str | None = None, **kw: Any) -> None:
        """Make an index over keys, in the database that reading asks; doing so again changes nothing.

        Raises:
            MmmetaError: no file has such a key, or it shares the column for rare keys.
        """
        keys = [columns] if isinstance(columns, str) else list(columns)
        cells = self._index_cells(keys)
        with self._backend.database().atomic() as connection:
            connection.execute(
                f"CREATE INDEX IF NOT EXISTS {quote_identifier(name or self._index_name(keys))} "
                f"ON files ({', '.join(cells)})"
            )

    def has_index(self, columns: str | Iterable[str]) -> bool:
        """Whether an index over exactly these keys exists."""
        keys = [columns] if isinstance(columns, str) else list(columns)
        wanted = [cell.strip('"').replace('""', '"') for cell in self._index_cells(keys)]
        with self._backend.database().reading() as connection:
            for (name,) in connection.execute("SELECT name FROM pragma_index_list('files')").fetchall():
                having = [row[0] for row in connection.execute("SELECT name FROM pragma_index_info(?)", (name,))]
                if having == wanted:
                    return True
        return False

    def _index_cells(self, keys: Sequence[str]) -> list[str]:
        catalog = self._backend.catalog()
        cells = []
        for key in keys:
            expressions = catalog.compiler.expressions(key)
            if not expressions:
                raise MmmetaError(f"no file has the key {key!r}.{near_misses(key, catalog.keys)}")
            if any(expression.shared for expression in expressions):
                raise MmmetaError(f"{key!r} is one of the rare keys that share a column; it cannot have an index")
            cells.append(expressions[-1].cell.removeprefix("files."))
        return cells

    def _index_name(self, keys: Sequence[str]) -> str:
        return "files_by_" + "_".join(keys)

    # Writing, at the server

    def insert(
        self, row: Mapping[str, Any] | None = None, ensure: bool | None = None, types: Any = None, **data: Any
    ) -> str:
        """Add a file to the metadata db: ``insert(**data)`` or ``insert({...})``. Returns its unique value.

        Raises:
            DuplicateFileError: it is there already; use ``upsert``.
            UniqueValueError, ValueNotSupportedError: a key is missing or cannot be kept.
            ReadOnlyMetadirError: the metadir is a client's copy.
        """
        return self._put([self._row(row, data)], keys=None, on_known="refuse")[0]

    def insert_ignore(
        self, row: Mapping[str, Any], keys: Sequence[str] | None = None, ensure: bool | None = None, types: Any = None
    ) -> str:
        """Add a file unless one with these keys (the unique key unless given) is there."""
        return self._put([dict(row)], keys=keys, on_known="ignore")[0]

    def insert_many(
        self, rows: Iterable[Mapping[str, Any]], chunk_size: int = 1000, ensure: bool | None = None, types: Any = None
    ) -> None:
        """Add files in one transaction: all of them, or none."""
        self._put(rows, keys=None, on_known="refuse")

    def upsert(
        self,
        row: Mapping[str, Any] | None = None,
        keys: str | Sequence[str] | None = None,
        ensure: bool | None = None,
        types: Any = None,
        **data: Any,
    ) -> str:
        """Change the file with the same values of ``keys`` (the unique key unless given), or add it.

        ``upsert({...}, [keys])`` or ``upsert(keys=[...], **data)``. Keys that are not given keep their values. Where
        ``keys`` find a file with another unique value, that one is marked deleted: it was replaced.
        """
        return self._put([self._row(row, data)], keys=keys, on_known="change")[0]

    def upsert_many(
        self,
        rows: Iterable[Mapping[str, Any]],
        keys: str | Sequence[str] | None = None,
        chunk_size: int = 1000,
        ensure: bool | None = None,
        types: Any = None,
    ) -> None:
        """``upsert`` for many files in one transaction: all of them, or none."""
        self._put(rows, keys=keys, on_known="change")

    def update(
        self,
        row: Mapping[str, Any],
        keys: str | Sequence[str] | None = None,
        ensure: bool | None = None,
        types: Any = None,
        return_count: bool = False,
    ) -> int:
        """Change the files with the same values of ``keys`` (the unique key unless given); returns how many."""
        return len(self._put([dict(row)], keys=keys, on_known="change", add=False))

    def update_many(
        self,
        rows: Iterable[Mapping[str, Any]],
        keys: str | Sequence[str] | None = None,
        chunk_size: int = 1000,
        ensure: bool | None = None,
        types: Any = None,
    ) -> None:
        """``update`` for many rows in one transaction."""
        self._put(rows, keys=keys, on_known="change", add=False)

    def delete(self, *where: Mapping[str, Any], allow_mass_delete: bool = False, **filters: Any) -> bool:
        """Mark the matching files deleted in the metadata db; True if there were any. They come back when their
        metadata changes or they are inserted again.

        Raises:
            MassDeletionError: these are more than half of all files (20 at least).
        """
        with self._backend.write() as writer:
            condition = parse(_merged(where, filters))
            files = [row[0] for row in writer.matching(condition)]
            count = writer.delete(files, BY_HAND)
            writer.allow_mass_delete = allow_mass_delete
        return count > 0

    def _row(self, row: Mapping[str, Any] | None, data: dict[str, Any]) -> dict[str, Any]:
        if row is None:
            return data
        if not isinstance(row, Mapping):
            raise ValueNotSupportedError(f"a file is a mapping of keys to values, not a {type(row).__name__}")
        return {**row, **data}

    def _put(
        self,
        rows: Iterable[Mapping[str, Any]],
        *,
        keys: str | Sequence[str] | None,
        on_known: str,
        add: bool = True,
    ) -> list[str]:
        """Write rows; returns the unique values written."""
        config = self._backend.config
        unique = config.metadata.unique
        names = [keys] if isinstance(keys, str) else list(keys or [unique])
        key_filter = KeyFilter(config)
        written: list[str] = []
        with self._backend.write() as writer:
            for row in rows:
                values = key_filter.keep(flatten(clean(row)).values)
                targets = self._targets(writer, values, names, unique)
                if not targets and not add:
                    continue
                if targets and on_known == "refuse":
                    raise DuplicateFileError(
                        f"{unique}={targets[0]!r} is there already; use upsert(..., [{unique!r}]) to change it"
                    )
                if targets and on_known == "ignore":
                    written.append(targets[0])
                    continue
                for target in targets or (None,):
                    written.append(self._write(writer, values, target, config))
        return written

    def _targets(self, writer: MetadataWriter, values: dict[str, Any], names: Sequence[str], unique: str) -> list[str]:
        """The unique values of the alive files that the row is about."""
        missing = [name for name in names if name not in values]
        if missing:
            raise ValueNotSupportedError(f"the row has no {missing[0]!r}, which is to find the file")
        if list(names) == [unique]:
            file = str(values[unique])
            known = writer.known([file]).get(file)
            return [file] if known is not None and not known.deleted else []
        return [row[0] for row in writer.matching(parse({_literal(name): {"=": values[name]} for name in names}))]

    def _write(self, writer: MetadataWriter, values: dict[str, Any], target: str | None, config: Config) -> str:
        """Write one row over a file, or as a new one."""
        unique = config.metadata.unique
        old = writer.read([target])[target] if target is not None else {}
        record = make_record({**old, **values}, config, None, None)
        known = writer.known([record.file]).get(record.file)
        if target is not None and record.file != target:
            writer.delete([target], REPLACED)
        if known is not None and not known.deleted and target == record.file:
            record = record._replace(source=known.source, source_mtime=known.source_mtime)
        if known is None or known.deleted or known.fingerprint != record.fingerprint:
            writer.put(record, known)
            writer.flush_rows()
        assert unique in record.values
        return record.file

    # What a dataset table has and a metadir has not, or has otherwise

    @property
    def db(self) -> dataset.Database:
        """The database that reading asks as a ``dataset.Database``, opened read-only, for SQL of your own."""
        import dataset
        from sqlalchemy.pool import NullPool

        database = self._backend.database()
        with database.reading():
            pass  # a clear error where there is nothing to read
        return dataset.connect(
            f"sqlite:///file:{database.path}?mode=ro&uri=true",
            sqlite_wal_mode=False,
            ensure_schema=False,
            engine_kwargs={"poolclass": NullPool},
        )

    @property
    def table(self) -> Any:
        """The SQLAlchemy table behind this facade, for reading: keys are columns, see ``registry`` for odd names."""
        return self.db["files"].table

    def create_column(self, *args: Any, **kw: Any) -> NoReturn:
        """Not needed: a key gets its column with the first file that has it."""
        raise UnsupportedOperationError(
            "columns come with the keys of the files; set file[key] and save(), or insert a file that has the key"
        )

    create_column_by_example = create_column

    def drop_column(self, name: str) -> NoReturn:
        """Not possible: what files have is the remote's word."""
        raise UnsupportedOperationError(
            f"{name!r} stays while files have it; exclude it in config.yml and generate again"
        )

    def drop(self) -> NoReturn:
        """Not possible: clients would lose what they know."""
        raise UnsupportedOperationError(
            "the files cannot be dropped; `generate(replace=True)` rebuilds the metadata db"
        )

    def _condition(self, catalog: Catalog, where: Sequence[Mapping[str, Any]], filters: dict[str, Any]) -> Condition:
        condition = parse(_merged(where, filters))
        self._warn_unknown(catalog, catalog.unknown_keys(condition))
        return condition

    def _warn_unknown(self, catalog: Catalog, keys: Sequence[str]) -> None:
        for key in keys:
            if not catalog.knows(key):
                warnings.warn(
                    f"no file has the key {key!r} yet; it counts as absent.{near_misses(key, catalog.keys)}",
                    UnknownKeyWarning,
                    stacklevel=4,
                )


def _merged(where: Sequence[Mapping[str, Any]], filters: dict[str, Any]) -> dict[str, Any]:
    """Positional and named filters as one mapping; all of them must hold."""
    for part in where:
        if not isinstance(part, Mapping):
            raise UnsupportedOperationError(
                "SQLAlchemy clauses work on m.files.db; here a positional filter is a mapping: find({'a:b': {'>': 1}})"
            )
    parts = [*where, filters] if filters else list(where)
    if len(parts) == 1:
        return dict(parts[0])
    return {"$all": [dict(part) for part in parts]} if parts else {}


def _literal(key: str) -> str:
    """A metadata key as the filter language writes it."""
    return "$" + key if key.startswith("$") else key
