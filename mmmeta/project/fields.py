"""The kinds of values that stand in a project file: paths, durations, counts, filters, each with its check.

A check says what is wrong in words for the person who wrote the file; file, line and key are added by ``validation``.
Every kind also says what a JSON Schema tells an editor about it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema

from mmmeta import filters
from mmmeta.config.validation import InnerError
from mmmeta.config.yaml_file import KeyPath
from mmmeta.documents.rendering import check_name_template
from mmmeta.errors import MmmetaError, near_misses
from mmmeta.layout import METADIR, SQLITE, is_shared, read_state
from mmmeta.masking import has_stray_at
from mmmeta.target.names import NOT_SUPPORTED, SUPPORTED, read_table_name
from mmmeta.urls import why_no_path, without_blanks

NAME_PATTERN = r"^[A-Za-z0-9_]+$"
"""Names of metadirs and jobs: what Dagster takes as the name of a job."""

_RERUN_WORDS = ("content", "metadata", "never")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_HOST_AND_PATH = re.compile(r"[^/\s@:]+@[^/\s@:]+:")
_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
LONGEST_NAME = 200
"""Characters of the name of a job or metadir: it is part of keys of the ledger, which end somewhere."""

MOST = 1_000_000_000
"""The largest count: more than there will be files, and within what SQLite takes for a number."""

MOST_SHARDS = 1_000
"""The most runs of a job at the same time; each is a process, and one more asks a database for connections."""


def check_name(name: str, what: str) -> None:
    """Raise ValueError unless Dagster takes this as a name."""
    if not re.fullmatch(NAME_PATTERN.strip("^$"), name, re.ASCII):
        fixed = re.sub(r"\W", "_", name, flags=re.ASCII)
        hint = f": {fixed}" if fixed.strip("_") else ""
        raise ValueError(f"{name!r} cannot name a {what}. Use only letters, digits and _{hint}")
    if len(name) > LONGEST_NAME:
        raise ValueError(f"a name of {len(name):,} characters is too long for a {what}: {LONGEST_NAME} at most")


def _absolute(text: str, info: ValidationInfo) -> str:
    folder = (info.context or {}).get("folder") or Path.cwd()
    return os.path.abspath(os.path.join(folder, os.path.expanduser(text)))


def _local_path(text: object, info: ValidationInfo) -> str:
    """An absolute local path; of a ``file://`` URL, too."""
    if not isinstance(text, (str, os.PathLike)):
        raise ValueError("needs a path. Quote it if it looks like something else")
    path = os.fspath(text)
    if not isinstance(path, str) or not path.strip():
        raise ValueError("the path is empty")
    path = without_blanks(path)
    if "\0" in path:
        raise ValueError("a path cannot have a NUL in it")
    if path.lower().startswith("file://"):
        path = re.sub(r"(?i)^file://(localhost)?", "", path)
        if not path.startswith("/"):
            raise ValueError("a file:// URL has three slashes and an absolute path: file:///data/archive")
        path = unquote(path)
    elif match := _SCHEME.match(path):
        raise ValueError(f"{match.group()} is not in this version: a local folder is needed, as path or file:// URL")
    elif "://" in path and (reason := why_no_path(path)) is not None:
        raise ValueError(reason)
    return _absolute(path, info)


def _base_path(text: object, info: ValidationInfo) -> Path:
    path = Path(_local_path(text, info))
    if path.name == METADIR:
        raise ValueError(f"give the folder that holds {METADIR}, not {METADIR} itself")
    return path


def _remote_base(text: object, info: ValidationInfo) -> str:
    """A base path elsewhere: a URL that fsspec reads, without a slash at its end, or an absolute local path."""
    # A URL itself is in no message: it may hold a password or a signature.
    if isinstance(text, str):
        text = without_blanks(text)
    if isinstance(text, str) and re.search("::.*://", text, re.DOTALL):
        raise ValueError(
            "file systems chained with :: are not read. Give the URL of the base path: s3://bucket/archive"
        )
    if not isinstance(text, str) or text.lower().startswith("file://") or not _SCHEME.match(text):
        if isinstance(text, str) and _HOST_AND_PATH.match(text):
            raise ValueError(
                "is how rsync and scp name a host. Write sftp://user@host/path, or ./ before a folder's name"
            )
        if isinstance(text, str) and not text.lower().startswith("file://") and (reason := why_no_path(text)):
            raise ValueError(f"{reason}; a URL is s3://bucket/archive, or sftp://user@host/path")
        return str(_base_path(text, info))
    if re.search(r"[\x00-\x20\x7f]", text):
        raise ValueError("a URL cannot have spaces or control characters in it")
    path, mark, query = text.partition("?")
    path = path.rstrip("/")
    if path.endswith(":"):
        raise ValueError("names no place. Give the URL of the base path: s3://bucket/archive")
    if METADIR in path.split("/"):
        raise ValueError(f"give the base path that holds {METADIR}, not {METADIR} itself")
    return f"{path}{mark}{query}"


def _state_path(text: object, info: ValidationInfo) -> str:
    if isinstance(text, str):
        text = read_state(text)
        if is_shared(text):
            return text
    return _local_path(text, info)


def _sql_url(text: object, info: ValidationInfo) -> str:
    if isinstance(text, str):
        text = without_blanks(text)
    if not isinstance(text, str) or not _SCHEME.match(text):
        raise ValueError(
            "needs an SQLAlchemy URL, without quotes in the value: sqlite:///documents.db, postgresql://user@host/database"
        )
    if has_stray_at(text):
        # The URL itself is in no message: it holds the password.
        raise ValueError("has more than one @ before the host: an @ in a user name or password is written %40")
    backend = re.split(r"[+:]", text)[0].lower()
    if backend not in (*SUPPORTED, "postgres"):
        raise ValueError(NOT_SUPPORTED.format(backend=backend))
    match = SQLITE.fullmatch(text)
    if match is None:
        if text.startswith("sqlite"):
            raise ValueError("a relative sqlite URL has three slashes, an absolute one four: sqlite:///documents.db")
        return text
    path = match["path"]
    if path in (None, "", ":memory:"):
        raise ValueError("a database in memory is gone after the run. Give a file: sqlite:///documents.db")
    if path.startswith("file:"):
        return text
    return f"{match[1]}:///{_absolute(path, info)}{match[3] or ''}"


def sqlite_file(url: str) -> str | None:
    """The file of a SQL target that is SQLite's; None for every other one."""
    match = SQLITE.fullmatch(url)
    path = None if match is None else match["path"]
    return None if not path or path.startswith("file:") else path


def _table(name: str) -> str:
    read_table_name(name)
    return name


def _function(text: str) -> str:
    if not _FUNCTION.fullmatch(text):
        raise ValueError(f"{text!r} is not a function. Write package.module:name")
    return text


def _file_name(text: str) -> str:
    try:
        check_name_template(text)
    except MmmetaError as error:
        raise ValueError(str(error)) from None
    return text


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("needs a number, not true or false")
    return value


def _duration(value: Any) -> float:
    return filters.parse_duration(value)


def _some_time(value: Any) -> float:
    seconds = filters.parse_duration(value)
    if seconds < 1:
        raise ValueError("needs at least one second")
    return seconds


def _timeout(value: Any) -> float:
    seconds = filters.parse_duration(value)
    if seconds <= 0:
        raise ValueError("needs more than no time: 30s, 5m")
    return seconds


def _whole_seconds(value: Any) -> int:
    seconds = _some_time(value)
    if seconds != int(seconds):
        raise ValueError("needs whole seconds")
    return int(seconds)


def _size(value: Any) -> int:
    size = filters.parse_size(value)
    if size < 1:
        raise ValueError("needs at least one byte")
    return size


def _order_by(text: str) -> str:
    if not text.removeprefix("-").strip():
        raise ValueError("needs a metadata key: retrieved_at, or -retrieved_at for the newest first")
    return text


def _once_per(text: str) -> str:
    if not text or text != text.strip():
        raise ValueError("needs a metadata key, without spaces around it: content_hash")
    return text


def _rerun_on(value: object) -> object:
    if isinstance(value, str) and value not in _RERUN_WORDS:
        hint = near_misses(value, _RERUN_WORDS)
        raise ValueError(f"{value!r} is neither {', '.join(_RERUN_WORDS)} nor a list of keys: [{value}].{hint}")
    if not isinstance(value, (str, list, tuple)):
        raise ValueError(f"needs one of {', '.join(_RERUN_WORDS)}, or a list of metadata keys")
    if not isinstance(value, str):
        if not value:
            raise ValueError("the list is empty: nothing would ever make a file due again. Say never for that")
        if not all(isinstance(key, str) and key for key in value):
            raise ValueError("the list takes metadata keys, which are text")
        return list(value)
    return value


def _where(value: object) -> object:
    """A filter, parsed once to find what is wrong with it."""
    if not isinstance(value, Mapping):
        reason = "is empty. Write {} for every file" if value is None else "needs a filter: {key: value}"
        raise ValueError(reason)
    try:
        filters.parse(value)
    except MmmetaError as error:
        raise InnerError(str(error), _blame(value)) from None
    return dict(value)


def _blame(where: Mapping[Any, Any]) -> KeyPath:
    """The keys down to the first entry that cannot be parsed on its own."""
    for key, value in where.items():
        if not _fails({key: value}):
            continue
        if key in ("$any", "$all") and isinstance(value, list):
            for index, part in enumerate(value):
                if _fails(part):
                    return (key, index, *(_blame(part) if isinstance(part, Mapping) else ()))
        elif isinstance(value, Mapping):
            if key == "$not":
                return (key, *_blame(value))
            for operator, entry in value.items():
                if _fails({key: {operator: entry}}):
                    return (key, operator)
        return (key,)
    return ()


def _fails(where: Any) -> bool:
    try:
        filters.parse(where)
    except MmmetaError:
        return True
    return False


_ENVIRONMENT = r"\{\{ *env\."
DURATION_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": rf"^([0-9]+(\.[0-9]+)?[wdhmsWDHMS])+$|{_ENVIRONMENT}"},
    ]
}
_SIZE_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 1},
        {"type": "string", "pattern": rf"^[0-9]+(\.[0-9]+)? *([kmgtpKMGTP]i?)?[bB]?$|{_ENVIRONMENT}"},
    ]
}
_SHARE_SCHEMA = {"type": "number", "minimum": 0, "maximum": 1}
_RERUN_SCHEMA = {"anyOf": [{"enum": list(_RERUN_WORDS)}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
TEXT_SCHEMA = WithJsonSchema({"type": "string", "minLength": 1})

BasePath = Annotated[Path, BeforeValidator(_base_path), TEXT_SCHEMA]
FilesRoot = Annotated[Path, BeforeValidator(_local_path), TEXT_SCHEMA]
FolderPath = Annotated[str, BeforeValidator(_local_path), TEXT_SCHEMA]
RemoteBase = Annotated[str, BeforeValidator(_remote_base), TEXT_SCHEMA]
StatePath = Annotated[str, BeforeValidator(_state_path), TEXT_SCHEMA]
SqlUrl = Annotated[str, BeforeValidator(_sql_url), TEXT_SCHEMA]
TableName = Annotated[str, AfterValidator(_table)]
FunctionName = Annotated[str, AfterValidator(_function)]
FileNameTemplate = Annotated[str, AfterValidator(_file_name)]
Count = Annotated[int, Field(ge=1, le=MOST), BeforeValidator(_no_bool)]
Shards = Annotated[int, Field(ge=0, le=MOST_SHARDS), BeforeValidator(_no_bool)]
Share = Annotated[float, Field(ge=0, le=1), BeforeValidator(_no_bool), WithJsonSchema(_SHARE_SCHEMA)]
Duration = Annotated[float, BeforeValidator(_duration), WithJsonSchema(DURATION_SCHEMA)]
Timeout = Annotated[float, BeforeValidator(_timeout), WithJsonSchema(DURATION_SCHEMA)]
Lease = Annotated[float, BeforeValidator(_some_time), WithJsonSchema(DURATION_SCHEMA)]
WholeSeconds = Annotated[int, BeforeValidator(_whole_seconds), WithJsonSchema(DURATION_SCHEMA)]
Size = Annotated[int, BeforeValidator(_size), WithJsonSchema(_SIZE_SCHEMA)]
OrderBy = Annotated[str, AfterValidator(_order_by)]
OncePer = Annotated[str, AfterValidator(_once_per)]
RerunOn = Annotated[
    Literal["content", "metadata", "never"] | list[str], BeforeValidator(_rerun_on), WithJsonSchema(_RERUN_SCHEMA)
]
Where = Annotated[dict[str, Any], BeforeValidator(_where), WithJsonSchema({"type": "object", "title": "Where"})]
EmptyIsMapping: BeforeValidator = BeforeValidator(lambda value: {} if value is None else value)
EmptyIsList: BeforeValidator = BeforeValidator(lambda value: [] if value is None else value)
