"""Reading half of ``m.files``: finding, counting, indexes, and the database itself for SQL of one's own."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mmmeta.catalog.catalog import Catalog, FileRow
from mmmeta.catalog.indexes import create_index, has_index, index_columns
from mmmeta.errors import (
    FilterError,
    MmmetaError,
    UnknownKeyWarning,
    UnsupportedOperationError,
    near_misses,
    warn_caller,
)
from mmmeta.files.file import File
from mmmeta.files.lookup import look_up, near_names, read_word
from mmmeta.filters import Condition, parse
from mmmeta.metadata.server import Server
from mmmeta.sqlite.database import Database
from mmmeta.state.state import State

if TYPE_CHECKING:
    import dataset


class ReadableFiles:
    """All files of a metadir, to read: from the state db once ``update()`` has run, from the metadata db before.

    Args:
        server: whose config.yml names the templates of addresses.
        state: where ``save()`` of a file writes.
        catalog: opens the database that reading asks.
        database: the same one, for indexes and SQL of one's own.
    """

    def __init__(
        self, server: Server, state: State, *, catalog: Callable[[], Catalog], database: Callable[[], Database]
    ) -> None:
        self._server = server
        self._state = state
        self._catalog = catalog
        self._database = database

    def find(
        self,
        *where: Mapping[str, Any],
        _limit: int | None = None,
        _offset: int | None = 0,
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
            FilterError: an operator or value that cannot be compared, or a ``_limit`` that is no number.

        Warns:
            UnknownKeyWarning: a filter on a key that no file has.
        """
        catalog = self._catalog()
        condition = self._condition(catalog, where, filters)
        ordering = [order_by] if isinstance(order_by, str) else [name for name in order_by or () if name]
        for name in ordering:
            self._warn_unknown(catalog, [name.removeprefix("-")])
        limit, offset = _whole("_limit", _limit), _whole("_offset", _offset) or 0
        rows = catalog.rows(condition, deleted=deleted, order_by=ordering, limit=limit, offset=offset)
        return self._made(rows, catalog)

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
        catalog = self._catalog()
        return next(self._made(catalog.by_unique([str(unique_value)]).values(), catalog), None)

    def get_many(self, unique_values: Iterable[str]) -> dict[str, File]:
        """Files by their unique values, deleted ones too; those that there are none of are left out."""
        catalog = self._catalog()
        rows = catalog.by_unique(list(unique_values)).values()
        return {file.unique_value: file for file in self._made(rows, catalog)}

    def look_up(self, text: str, *, limit: int = 20, published: bool = False) -> list[File]:
        """The files that a word of a person's means, deleted ones too: a unique value or how one begins, the name or path
        of the document or its metadata file, an address, how a title begins. Of what is exact nothing vaguer is looked for.

        Args:
            published: look into the metadata db, also where an update has run.
        """
        catalog = self._server.catalog() if published else self._catalog()
        word = read_word(text, self._server.layout.files_root)
        return list(self._made(look_up(catalog, word, self._server.config, limit), catalog))

    def near_names(self, text: str) -> list[str]:
        """Names of files that begin as a word does that means none: to ask whether one of them was meant."""
        word = read_word(text, self._server.layout.files_root)
        return near_names(self._catalog(), word, self._server.config)

    def count(self, *where: Mapping[str, Any], deleted: bool | None = False, **filters: Any) -> int:
        """How many files match."""
        catalog = self._catalog()
        return catalog.count(self._condition(catalog, where, filters), deleted=deleted)

    def distinct(
        self,
        *keys: str,
        _limit: int | None = None,
        _offset: int | None = 0,
        deleted: bool | None = False,
        **filters: Any,
    ) -> Iterator[dict[str, Any]]:
        """Each combination of values of these keys once, as ``{key: value}``, in their order; what is absent comes as None,
        and first."""
        if not keys or not all(isinstance(key, str) for key in keys):
            raise UnsupportedOperationError("distinct takes names of keys; filters go by name: distinct('a', b=1)")
        catalog = self._catalog()
        condition = self._condition(catalog, (), filters)
        self._warn_unknown(catalog, keys)
        limit, offset = _whole("_limit", _limit), _whole("_offset", _offset) or 0
        return iter(catalog.distinct(keys, condition, deleted=deleted, limit=limit, offset=offset))

    @property
    def columns(self) -> list[str]:
        """All keys that files have, the remote's and the client's."""
        return self._catalog().keys

    @property
    def key_types(self) -> dict[str, str]:
        """Key → the types that its values have had, the usual one first: ``text``, ``integer | text``, ``json`` …"""
        return self._catalog().key_types

    def has_column(self, column: str) -> bool:
        """Whether any file may have this key."""
        return column in self._catalog().keys

    @property
    def exists(self) -> bool:
        """Whether there is a database to read."""
        return self._database().exists()

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
        cells = index_columns(self._catalog(), keys)
        database = self._database()
        if database.read_only:
            raise MmmetaError(f"{database.path} is the remote's and only read here; run update() first, then index")
        create_index(database, keys, cells, name)

    def has_index(self, columns: str | Iterable[str]) -> bool:
        """Whether an index over exactly these keys exists."""
        keys = [columns] if isinstance(columns, str) else list(columns)
        catalog = self._catalog()
        if not set(keys) <= set(catalog.keys):
            return False
        return has_index(self._database(), index_columns(catalog, keys))

    # The database itself

    @property
    def db(self) -> dataset.Database:
        """The database that reading asks as a ``dataset.Database``, opened read-only, for SQL of your own."""
        import dataset
        from sqlalchemy.pool import NullPool

        database = self._database()
        with database.reading():
            pass  # a clear error where there is nothing to read
        return dataset.connect(
            f"sqlite:///file:{quote(str(database.path))}?mode=ro&uri=true",
            sqlite_wal_mode=False,
            ensure_schema=False,
            engine_kwargs={"poolclass": NullPool},
        )

    @property
    def table(self) -> Any:
        """The SQLAlchemy table behind this facade, for reading: keys are columns, see ``registry`` for odd names."""
        return self.db["files"].table

    def _made(self, rows: Iterable[FileRow], catalog: Catalog) -> Iterator[File]:
        templates, save = self._server.config.remote, self._state.save
        return (File(row, catalog, templates, save) for row in rows)

    def _condition(self, catalog: Catalog, where: Sequence[Mapping[str, Any]], filters: dict[str, Any]) -> Condition:
        condition = parse(merge_filters(where, filters))
        self._warn_unknown(catalog, catalog.unknown_keys(condition))
        return condition

    def _warn_unknown(self, catalog: Catalog, keys: Sequence[str]) -> None:
        for key in keys:
            if not catalog.knows(key):
                warn_caller(
                    f"no file has the key {key!r} yet; it counts as absent.{near_misses(key, catalog.keys)}",
                    UnknownKeyWarning,
                )


def merge_filters(where: Sequence[Mapping[str, Any]], filters: dict[str, Any]) -> dict[str, Any]:
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


def _whole(name: str, value: Any) -> int | None:
    """A number of files, None where none is given."""
    try:
        return None if value is None else operator.index(value)
    except TypeError:
        raise FilterError(f"{name} takes a whole number of files or None, not {value!r}") from None
