"""Files as a Parquet table: typed columns, a batch at a time, so that memory does not grow with the archive.

A column has the type that all values under its key have. What has no common one, or fits none (integers beyond 64 bits,
objects), is text with each value as JSON, and says so in the field's metadata.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from mmmeta.cli.output import UNENCODABLE
from mmmeta.errors import MmmetaError

if TYPE_CHECKING:
    import pyarrow

ROWS = 10_000
"""Most rows of a batch, which is a row group of the file."""

CHARACTERS = 16_000_000
"""Characters of text after which a batch ends, however few rows it has."""

ENCODING = b"mmmeta:encoding"
"""Field metadata that says ``json`` where a column's values are JSON in a text."""

_INT64 = 1 << 63
_EXACT = 1 << 53
"""Integers up to it are the same number as a float."""


class Kinds:
    """The kinds of values that each key has, learned from all files before the first is written."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._found: dict[str, set[str]] = {key: set() for key in keys}

    def learn(self, row: Mapping[str, Any]) -> None:
        """Take in the values of one file."""
        for key, value in row.items():
            if value is not None and key in self._found:
                self._found[key].add(_kind(value))

    def __getitem__(self, key: str) -> str:
        """The type of a column: ``text``, ``bool``, ``int``, ``float``, a list of one of these (``[int]``), or ``json``."""
        found = self._found.get(key) or {"text"}
        return _common(found)


def _common(kinds: set[str]) -> str:
    if all(kind.startswith("[") for kind in kinds):
        inner = set().union(*(kind[1:-1].split(",") for kind in kinds)) - {""}
        common = _common(inner) if inner else "text"
        return f"[{common}]" if common in ("text", "bool", "int", "float") else "json"
    if kinds == {"int", "wide"} or kinds == {"wide"}:
        return "int"
    if len(kinds) == 1:
        return next(iter(kinds))
    return "float" if kinds == {"int", "float"} else "json"


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        if not -_INT64 <= value < _INT64:
            return "json"
        return "int" if -_EXACT <= value <= _EXACT else "wide"
    if isinstance(value, list):
        kinds = {_kind(part) for part in value if part is not None}
        return "json" if any(kind[:1] in "[j" for kind in kinds) else f"[{','.join(sorted(kinds))}]"
    return {str: "text", float: "float"}.get(type(value), "json")


def require_pyarrow() -> None:
    """Refuse before any work where the package is missing.

    Raises:
        MmmetaError: it is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise MmmetaError(
            "Parquet needs the package pyarrow, which is not installed: pip install 'mmmeta[parquet]'"
        ) from error


def write_parquet(
    stream: BinaryIO, rows: Iterable[Mapping[str, Any]], columns: Sequence[str], kinds: Mapping[str, str] | Kinds
) -> None:
    """Write rows as a Parquet file; what a row does not have is null.

    Args:
        kinds: the type of each column, as ``Kinds`` tells it.

    Raises:
        MmmetaError: a value is not of its column's type, for the files changed since these were learned.
    """
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    types = {name: kinds[name] for name in columns}
    schema = pyarrow.schema([_field(name, kind) for name, kind in types.items()])
    with ParquetWriter(stream, schema, compression="zstd") as writer:
        for batch in _batches(rows, types):
            try:
                arrays = [pyarrow.array(values, field.type) for values, field in zip(batch, schema, strict=True)]
            except (pyarrow.ArrowException, OverflowError, TypeError) as error:
                raise MmmetaError(f"the files changed while they were written ({error}): dump again") from error
            writer.write_batch(pyarrow.RecordBatch.from_arrays(arrays, schema=schema))


def _field(name: str, kind: str) -> pyarrow.Field:
    import pyarrow

    types = {"bool": pyarrow.bool_(), "int": pyarrow.int64(), "float": pyarrow.float64()}
    plain = types.get(kind.strip("[]"), pyarrow.string())
    metadata = {ENCODING: b"json"} if kind == "json" else None
    return pyarrow.field(_encodable(name), pyarrow.list_(plain) if kind.startswith("[") else plain, metadata=metadata)


def _batches(rows: Iterable[Mapping[str, Any]], types: Mapping[str, str]) -> Iterable[list[list[Any]]]:
    """The values column by column, some rows at a time."""
    batch: list[list[Any]] = [[] for _ in types]
    count = characters = 0
    for row in rows:
        for values, (name, kind) in zip(batch, types.items(), strict=True):
            value = _value(row.get(name), kind)
            values.append(value)
            characters += len(value) if isinstance(value, str) else 8
        count += 1
        if count == ROWS or characters >= CHARACTERS:
            yield batch
            batch = [[] for _ in types]
            count = characters = 0
    if count:
        yield batch


def _value(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind == "json":
        from mmmeta.values import json_text

        return _encodable(json_text(value))
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, list):
        return [_value(part, kind.strip("[]")) for part in value]
    return _encodable(value) if isinstance(value, str) else value


def _encodable(text: str) -> str:
    """Half of a surrogate pair, out of a file name that is not UTF-8, as an escape."""
    return text.encode("utf-8", UNENCODABLE).decode()
