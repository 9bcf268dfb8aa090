"""What a job of a project file does with its files: the actions, as checked, frozen models."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    WithJsonSchema,
    model_validator,
)

from mmmeta.config.validation import InnerError
from mmmeta.documents.templates import Placeholder, parse_template
from mmmeta.errors import MmmetaError
from mmmeta.masking import without_password
from mmmeta.project.base import Model
from mmmeta.project.code_arguments import misplaced
from mmmeta.project.fields import (
    TEXT_SCHEMA,
    EmptyIsMapping,
    FileNameTemplate,
    FolderPath,
    FunctionName,
    Size,
    SqlUrl,
    TableName,
)
from mmmeta.project.load import LoadColumns, LoadContent
from mmmeta.target.names import NO_SCHEMAS
from mmmeta.values import RESERVED_PREFIX

PROTOCOLS = ("http", "https", "s3", "gs", "az", "abfs")
"""What a download may read besides files below files_root. Metadata says where a document is, so nothing is in the list
that reaches this machine's files or asks for a login of its user (file, local, sftp, github …)."""

LARGEST_DOCUMENT = 10_000_000_000
"""Bytes of a document, unless the job says something else: an answer without an end shall not fill the disk."""

DOCUMENT = "__path"
"""Placeholder of a command for the local path of the file's document; no metadata key begins like this."""

OWN_HEADERS = (
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "accept-encoding",
    "range",
    "if-range",
    "proxy-authorization",
)
"""Headers that a job cannot set: how a document comes over the line is not its affair."""

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_LOCAL = ("file", "local")
_MEDIA_TYPE = re.compile(r"[a-z]+/([a-z0-9.+-]+|\*)")
_PROTOCOL = re.compile(r"[a-z][a-z0-9+.-]*")


def _protocol(text: str) -> str:
    name = text.removesuffix("://").lower()
    if name in _LOCAL:
        raise ValueError(
            f"{text!r} would open every file here to the metadata. Leave it out: files below files_root are read anyway, so "
            "name the folder of the documents as files_root"
        )
    if not _PROTOCOL.fullmatch(name):
        raise ValueError(f"{text!r} is no protocol. Write https or s3")
    return name


def arguments_of(value: object) -> object:
    """The list, if it is one; a shell line is shown as one."""
    if isinstance(value, str):
        raise ValueError(f"needs a list of arguments, for no shell reads it: {_as_list(value)}")
    return list(value) if isinstance(value, tuple) else value


def _as_list(line: str) -> str:
    try:
        words = shlex.split(line)
    except ValueError:
        words = line.split()
    plain = re.compile(r"[A-Za-z0-9_./=+-]*[A-Za-z_./][A-Za-z0-9_./=+-]*")
    return f"[{', '.join(word if plain.fullmatch(word) else f'{chr(34)}{word}{chr(34)}' for word in words)}]"


def _check_arguments(run: list[str]) -> list[str]:
    if not run or not run[0].strip():
        raise ValueError(
            'is empty. Name a program and its arguments: [pdftotext, "{__path}", "./text/{_file_name}.txt"]'
        )
    for index, argument in enumerate(run):
        if "\0" in argument:
            raise InnerError("an argument cannot have a NUL in it", (index,))
        keys = placeholders_in(argument, index)
        if index == 0 and keys:
            raise InnerError("metadata cannot decide which program runs. Write its name without {…}", (0,))
        for key in keys:
            if key.startswith(RESERVED_PREFIX) and key != DOCUMENT:
                known = f"There is {{{DOCUMENT}}}, the local path of the document; metadata keys do not begin like this"
                raise InnerError(f"{{{key}}} is not known. {known}", (index,))
    return run


def placeholders_in(argument: str, index: int) -> list[str]:
    """The keys in an argument of a command."""
    try:
        found = [part for part in parse_template(argument).parts if isinstance(part, Placeholder)]
    except MmmetaError as error:
        raise InnerError(f"{str(error).rstrip('.')}. Put what needs braces into a script", (index,)) from None
    if any(part.key == DOCUMENT and part.default is not None for part in found):
        raise InnerError(f"{{{DOCUMENT}}} has no default: a file without its document fails", (index,))
    return [part.key for part in found]


def _environment_name(key: str) -> str:
    return f"MMMETA_KEY_{re.sub(r'[^A-Za-z0-9]', '_', key).upper()}"


def _media_type(text: str) -> str:
    plain = text.strip().lower()
    if not _MEDIA_TYPE.fullmatch(plain):
        raise ValueError(f"{text!r} is no type of content. Write application/pdf or image/*")
    return plain


def _header_name(text: str) -> str:
    if not _HEADER.fullmatch(text):
        raise ValueError(f"{text!r} is no name of a header. Write Accept-Language")
    if text.lower() in OWN_HEADERS:
        raise ValueError(f"{text!r} is set by mmmeta itself. Leave it out")
    return text


def _header_value(value: object) -> object:
    """Headers are text; nobody quotes a number in YAML."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _check_header(text: str) -> str:
    # The value is not repeated: it may be a secret.
    if not text.strip() or not text.isascii() or not text.isprintable():
        raise ValueError("the value of a header needs letters, digits and signs of ASCII, in one line")
    return text.strip()


HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderText = Annotated[str, BeforeValidator(_header_value), AfterValidator(_check_header), TEXT_SCHEMA]
Protocol = Annotated[str, AfterValidator(_protocol)]
_KEY_IN_FOLDER = re.compile(r"\{[^{}/]+\}")

MediaType = Annotated[str, AfterValidator(_media_type)]
Arguments = Annotated[
    list[str],
    BeforeValidator(arguments_of),
    AfterValidator(_check_arguments),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "minItems": 1}),
]


def _no_template(folder: Any) -> Any:
    if isinstance(folder, str) and (found := _KEY_IN_FOLDER.search(folder)) is not None:
        raise ValueError(
            f"one folder is for all files, so {found[0]} would be its name. Put it into `name`, where a / makes folders: "
            f'name: "{found[0]}/{{_file_name}}"'
        )
    return folder


class DownloadAction(Model):
    """Fetch each document into a folder."""

    to: Annotated[
        FolderPath, BeforeValidator(_no_template), Field(description="folder to download into; a path or a file:// URL")
    ]
    name: Annotated[
        FileNameTemplate,
        Field(description="name of each file below it; {key|default} where a file may lack the key"),
    ] = "{_file_name}"
    protocols: Annotated[
        tuple[Protocol, ...], Field(description="from where documents may come, besides files below files_root")
    ] = PROTOCOLS
    content_type: Annotated[
        MediaType | None,
        Field(description="what web servers have to send, such as application/pdf or image/*, where no digest tells"),
    ] = None
    max: Annotated[Size, Field(description="larger documents fail, alone: 500MB, 20GB")] = LARGEST_DOCUMENT
    user_agent: Annotated[
        HeaderText | None,
        Field(description="who is asking, as web servers are told; mmmeta and its version unless given"),
    ] = None
    headers: Annotated[
        dict[HeaderName, HeaderText],
        EmptyIsMapping,
        Field(description="further headers for web servers: Accept-Language: de", repr=False),
    ] = {}

    @model_validator(mode="after")
    def _check(self) -> DownloadAction:
        names = [name.lower() for name in self.headers]
        for index, name in enumerate(names):
            if name in names[:index] or (name == "user-agent" and self.user_agent is not None):
                said = list(self.headers)[index]
                raise InnerError(f"{said!r} is said twice. Leave one of them", ("headers", said))
        return self

    @property
    def sent_headers(self) -> dict[str, str]:
        """What web servers are told beside what every request has."""
        return {**({} if self.user_agent is None else {"User-Agent": self.user_agent}), **self.headers}


class LoadAction(Model):
    """Write each file's metadata as a row into an SQL database."""

    to: Annotated[SqlUrl, Field(description="SQLAlchemy URL of the database", repr=False)]
    table: Annotated[TableName, Field(description="table to write into; made if it is not there")]
    mode: Annotated[
        Literal["upsert", "append"],
        Field(description="upsert: one row a file, its latest version; append: a row for each version"),
    ] = "upsert"
    columns: Annotated[
        LoadColumns | None, Field(description="these keys only; a rename is {column: key}. All keys, if not given")
    ] = None
    content: Annotated[LoadContent | None, Field(description="the document's own content, in a column")] = None

    @model_validator(mode="after")
    def _check(self) -> LoadAction:
        if "." in self.table and self.to.startswith("sqlite"):
            raise InnerError(NO_SCHEMAS.format(table=self.table), ("table",))
        chosen = {name.lower() for name in self.columns or ()}
        if self.content is not None and self.content.column.lower() in chosen:
            reason = f"the column {self.content.column!r} is among columns: already. Choose another for the content"
            raise InnerError(reason, ("content", "column"))
        return self

    @property
    def written_keys(self) -> list[str] | None:
        """The keys that were chosen to be written, besides the unique key, which always is; None where all are."""
        return None if self.columns is None else sorted(set(self.columns.values()))

    def identity(self) -> list[Any]:
        """What a job's fingerprint is made of; what is not said adds nothing, so that older jobs stay what they were."""
        more = {
            "mode": None if self.mode == "upsert" else self.mode,
            "columns": None if self.columns is None else sorted(self.columns.items()),
            "content": None if self.content is None else self.content.identity(),
        }
        said = {name: value for name, value in more.items() if value is not None}
        return [without_password(self.to), self.table, *([said] if said else [])]


class CallAction(Model):
    """Call a Python function with each file, or with a batch of them."""

    function: Annotated[FunctionName, Field(description="where the function is: package.module:name")]
    batch: Annotated[bool, Field(description="call it with a list of files")] = False


class CommandAction(Model):
    """Run a program with each file."""

    run: Annotated[
        Arguments, Field(description="program and arguments; {key} or {key|default} is filled in from the metadata")
    ]
    folder: Annotated[
        FolderPath, Field(description="where it runs; the project file's folder, unless given", validate_default=True)
    ] = "."
    environment: Annotated[
        tuple[str, ...], Field(description="keys whose values the program gets as MMMETA_KEY_… in its environment")
    ] = ()
    unsafe: Annotated[bool, Field(description="allow values where a program may take them for options or code")] = False

    @property
    def variables(self) -> dict[str, str]:
        """Variable → key, of those in ``environment``."""
        return {_environment_name(key): key for key in self.environment}

    @model_validator(mode="after")
    def _check(self) -> CommandAction:
        if len(self.variables) != len(self.environment):
            raise InnerError("two keys have one name in the environment. Leave one of them out", ("environment",))
        if not self.unsafe:
            names = [placeholders_in(argument, index) for index, argument in enumerate(self.run)]
            for wrong in misplaced(self.run, names, DOCUMENT):
                raise InnerError(wrong.reason, ("run", wrong.argument))
        return self

    @model_validator(mode="before")
    @classmethod
    def _is_mapping(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError(f"needs a list of arguments below run:, for no shell reads it: {{run: {_as_list(value)}}}")
        if isinstance(value, (list, tuple)) and not isinstance(value, Mapping):
            raise ValueError('the list stands below run: {run: [program, "{__path}"]}')
        return value
