"""``m.files``: a dataset table's interface over the metadata of all files.

Reading (``reading``) asks the state db once ``update()`` has run, and the metadata db before. The writing methods are
the server's and go to the metadata db; what they do to it is the subject of ``mmmeta.metadata.rows``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NoReturn, Protocol

from mmmeta.catalog.catalog import Catalog
from mmmeta.catalog.tables import META_SYSTEM
from mmmeta.errors import UnknownKeyError, UnsupportedOperationError, ValueNotSupportedError, near_misses
from mmmeta.files.reading import ReadableFiles, merge_filters
from mmmeta.filters import Condition, condition_keys, parse
from mmmeta.metadata.rows import CHANGE, CHANGE_ONLY, IGNORE, REFUSE, RowWriter
from mmmeta.metadata.server import Server
from mmmeta.metadata.writer import BY_HAND, MetadataWriter
from mmmeta.sqlite.database import Database
from mmmeta.state.state import State


class Write(Protocol):
    """Opens a transaction of the metadata db that is published when it ends, or soon after for a single row."""

    def __call__(self, *, single: bool = False) -> AbstractContextManager[MetadataWriter]: ...


class Files(ReadableFiles):
    """All files of a metadir; see the module.

    Args:
        begin: opens a transaction of the metadata db for the writing methods; the others are as for reading.
    """

    name = "files"

    def __repr__(self) -> str:
        return f"<Table({self.name})>"

    def __init__(
        self,
        server: Server,
        state: State,
        *,
        catalog: Callable[[], Catalog],
        database: Callable[[], Database],
        begin: Write,
    ) -> None:
        super().__init__(server, state, catalog=catalog, database=database)
        self._begin = begin

    def insert(
        self, row: Mapping[str, Any] | None = None, ensure: bool | None = None, types: Any = None, **data: Any
    ) -> str:
        """Add a file to the metadata db: ``insert(**data)`` or ``insert({...})``. Returns its unique value.

        That is text, as in ``file.unique_value``, also where the unique key holds an integer: ``insert(content_hash=5)``
        returns ``"5"``, while ``file["content_hash"]`` stays ``5``.

        Raises:
            DuplicateFileError: it is there already; use ``upsert``.
            UniqueValueError, ValueNotSupportedError: a key is missing or cannot be kept.
            ReadOnlyMetadirError: the metadir is a client's copy.
        """
        return self._write_one(_row(row, ensure, types, data), None, REFUSE)[0]

    def insert_ignore(
        self, row: Mapping[str, Any], keys: Sequence[str] | None = None, ensure: bool | None = None, types: Any = None
    ) -> str | bool:
        """Add a file unless one with these keys (the unique key unless given) is there.

        Returns:
            Its unique value; False where one is there, which stays as it is.
        """
        _refuse_options(ensure, types)
        with self._begin(single=True) as writer:
            rows = self._rows(writer, keys, IGNORE)
            (file,) = rows.write([_checked(row)])
            return False if rows.ignored else file

    def insert_many(
        self, rows: Iterable[Mapping[str, Any]], chunk_size: int = 1000, ensure: bool | None = None, types: Any = None
    ) -> None:
        """Add files in one transaction: all of them, or none."""
        _refuse_options(ensure, types)
        self._write(rows, None, REFUSE)

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
        return self._write_one(_row(row, ensure, types, data), keys, CHANGE)[0]

    def upsert_many(
        self,
        rows: Iterable[Mapping[str, Any]],
        keys: str | Sequence[str] | None = None,
        chunk_size: int = 1000,
        ensure: bool | None = None,
        types: Any = None,
    ) -> None:
        """``upsert`` for many files in one transaction: all of them, or none."""
        _refuse_options(ensure, types)
        self._write(rows, keys, CHANGE)

    def update(
        self,
        row: Mapping[str, Any],
        keys: str | Sequence[str] | None = None,
        ensure: bool | None = None,
        types: Any = None,
        return_count: bool = False,
    ) -> int:
        """Change the files with the same values of ``keys`` (the unique key unless given); returns how many."""
        _refuse_options(ensure, types)
        return len(self._write_one(row, keys, CHANGE_ONLY))

    def update_many(
        self,
        rows: Iterable[Mapping[str, Any]],
        keys: str | Sequence[str] | None = None,
        chunk_size: int = 1000,
        ensure: bool | None = None,
        types: Any = None,
    ) -> None:
        """``update`` for many rows in one transaction."""
        _refuse_options(ensure, types)
        self._write(rows, keys, CHANGE_ONLY)

    def delete(self, *where: Mapping[str, Any], allow_mass_delete: bool = False, **filters: Any) -> bool:
        """Mark the matching files deleted in the metadata db; True if there were any. They come back when their
        metadata changes or they are inserted again.

        Raises:
            MassDeletionError: these are 20 or more, and more than half of all files.
            UnknownKeyError: no file has such a key.
        """
        condition = parse(merge_filters(where, filters))
        with self._begin() as writer:
            self._refuse_unknown(writer, condition)
            count = writer.delete([file for (file,) in writer.matching(condition)], BY_HAND)
            writer.allow_mass_delete = allow_mass_delete
        return count > 0

    def _refuse_unknown(self, writer: MetadataWriter, condition: Condition) -> None:
        """A mistyped ``delete(importd=False)`` must not mean everything."""
        known = [*writer.columns.slots, *META_SYSTEM]
        for key in sorted(condition_keys(condition).difference(known)):
            if writer.head.revision:
                raise UnknownKeyError(
                    f"nothing was deleted: no file of the metadata db has the key {key!r}.{near_misses(key, known)}"
                )

    def _write_one(self, row: Mapping[str, Any], keys: str | Sequence[str] | None, policy: str) -> list[str]:
        """Write one row; returns the unique values of the files that it is about."""
        with self._begin(single=True) as writer:
            return list(self._rows(writer, keys, policy).write([_checked(row)]))

    def _write(self, rows: Iterable[Mapping[str, Any]], keys: str | Sequence[str] | None, policy: str) -> None:
        with self._begin() as writer:
            for _ in self._rows(writer, keys, policy).write(map(_checked, rows)):
                pass  # ten million names would not fit into memory

    def _rows(self, writer: MetadataWriter, keys: str | Sequence[str] | None, policy: str) -> RowWriter:
        return RowWriter(writer, self._server.config, self._server.key_filter, keys, policy)

    # What a dataset table has and a metadir has not

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


def _refuse_options(ensure: Any, types: Any) -> None:
    """Refuse what a dataset table could be told of its columns, and a metadir cannot.

    Raises:
        UnsupportedOperationError: keys shall get no columns, or columns of a type.
    """
    if ensure is not None and not ensure:
        raise UnsupportedOperationError(
            "ensure=False cannot be kept: every key of a file is kept. Leave keys out of the row, or exclude them in config.yml"
        )
    if types:
        raise UnsupportedOperationError(
            "types= cannot be kept: columns have no types, each value keeps its own. Convert the values of the row"
        )


def _checked(row: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(row, Mapping):
        raise ValueNotSupportedError(f"a file is a mapping of keys to values, not a {type(row).__name__}")
    return row


def _row(row: Mapping[str, Any] | None, ensure: Any, types: Any, data: dict[str, Any]) -> Mapping[str, Any]:
    """The row of ``insert({...}, ensure, types)`` or of ``insert(**data)``, where these two are keys like all others."""
    if row is not None:
        _refuse_options(ensure, types)
        return {**_checked(row), **data} if data else row
    if ensure is None and types is None:
        return data
    given = {"ensure": ensure, "types": types}
    return {**data, **{key: value for key, value in given.items() if value is not None}}
