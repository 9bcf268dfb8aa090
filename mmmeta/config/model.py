"""config.yml of the metadir: what counts as metadata, and how documents are addressed at the remote.

It is written at the remote and synced, so what stands in it is trusted no more than any other value from there.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from mmmeta.config.date_formats import check_format
from mmmeta.config.ignoring import check_pattern
from mmmeta.config.validation import InnerError, validate
from mmmeta.config.yaml_file import read_yaml
from mmmeta.documents.rendering import check_url_template
from mmmeta.errors import ConfigError, RemoteTemplateError
from mmmeta.values import SEPARATOR

__all__ = ["Config", "MetadataConfig", "load_config"]


def _check_key(name: str) -> str:
    if not name or name != name.strip():
        raise ValueError("a metadata key cannot be empty or begin or end with a space")
    if name.startswith("__"):
        raise ValueError("keys that begin with two underscores belong to mmmeta itself. Name another key")
    return name


def _check_template(text: str) -> str:
    if not text.strip():
        raise ValueError("the template is empty. Write a URL, such as https://example.org/{_file_name}")
    if text != text.strip():
        raise ValueError("a URL template cannot begin or end with a space. Take it out")
    try:
        check_url_template(text)
    except RemoteTemplateError as error:
        raise ValueError(str(error)) from None
    return text


def _check_template_name(name: str) -> str:
    if not name.isidentifier() or name.startswith("_"):
        raise ValueError(f"{name!r} cannot be read as file.remote.{name}. Use letters, digits and _, a letter first")
    return name


def _check_formats(formats: tuple[str, ...]) -> tuple[str, ...]:
    if not formats:
        raise ValueError('name at least one format, such as ["%d.%m.%Y"], or take the key out')
    return formats


def _nothing_is_an_empty_list(value: object) -> object:
    return () if value is None else value


def _nothing_is_empty(value: object) -> object:
    return {} if value is None else value


Key = Annotated[str, AfterValidator(_check_key)]
TemplateName = Annotated[str, AfterValidator(_check_template_name)]
UrlTemplate = Annotated[str, AfterValidator(_check_template)]
DateFormat = Annotated[str, AfterValidator(check_format)]
DateFormats = Annotated[tuple[DateFormat, ...], AfterValidator(_check_formats)]
IgnorePattern = Annotated[str, AfterValidator(check_pattern)]


class MetadataConfig(BaseModel):
    """Which keys identify a file, and which are kept.

    Names are flattened keys; in ``required``, ``include`` and ``exclude`` a name also covers everything nested below
    it (``headers`` covers ``headers:date``). ``exclude`` wins over ``include``; ``required``, ``unique``,
    ``content`` and ``file_name`` are always kept, and the first two cannot be excluded.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    unique: Annotated[Key, Field(description="the key that identifies a file")] = "content_hash"
    content: Annotated[Key, Field(description="the key that changes when the document itself changes")] = "content_hash"
    digest: Annotated[
        Literal["md5", "sha1", "sha224", "sha256", "sha384", "sha512", "none"] | None,
        Field(
            description="which digest of the document the content key holds, or none; told by name and form otherwise"
        ),
    ] = None
    file_name: Annotated[Key, Field(description="the key that holds the document's file name")] = "_file_name"
    derive: Annotated[
        bool,
        Field(description="whether what the metadata lacks (digest, size, media type, paths) is told by the document"),
    ] = True
    required: Annotated[tuple[Key, ...], Field(description="files without one of these keys are set aside")] = ()
    include: Annotated[tuple[Key, ...] | None, Field(description="only these keys are kept; all unless given")] = None
    exclude: Annotated[tuple[Key, ...], Field(description="these keys are dropped")] = ()
    lines: Annotated[bool, Field(description="*.json files have a record a line, as *.jsonl files always have")] = False

    @model_validator(mode="after")
    def _check(self) -> MetadataConfig:
        for index, name in enumerate(self.exclude):
            for what, keys in (("the unique key", (self.unique,)), ("required", self.required)):
                for key in keys:
                    if key == name or key.startswith(name + SEPARATOR):
                        which = f"{key!r} is {what}" if key == name else f"it covers {key!r}, which is {what}"
                        raise InnerError(
                            f"{which}, so it cannot be excluded. Take it out of one of them", ("exclude", index)
                        )
        return self


class Config(BaseModel):
    """What config.yml says; ``Config()`` is what holds without one.

    Attributes:
        metadata: keys and what is kept of them.
        dates: key → strptime's formats, the first that fits counts; what fits one is kept as ISO text.
        ignore: what generate passes over, in gitignore's language, beside what desktops and browsers leave behind.
        remote: name → URL template, for ``file.remote.<name>``.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    metadata: Annotated[MetadataConfig, BeforeValidator(_nothing_is_empty)] = MetadataConfig()
    dates: Annotated[dict[Key, DateFormats], BeforeValidator(_nothing_is_empty)] = Field(default_factory=dict)
    ignore: Annotated[tuple[IgnorePattern, ...], BeforeValidator(_nothing_is_an_empty_list)] = ()
    remote: Annotated[dict[TemplateName, UrlTemplate], BeforeValidator(_nothing_is_empty)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_dates(self) -> Config:
        if self.metadata.unique in self.dates:
            raise InnerError(
                "it is the unique key, whose text stays as it is. Take it out", ("dates", self.metadata.unique)
            )
        return self

    def fingerprint(self) -> str:
        """Hexadecimal text that changes when something else counts as metadata; the order of lists does not matter.

        URL templates do not take part: they change nothing that is kept. Nor does ``ignore``: the walk sees for itself what
        it comes across now.
        """
        rules = self.metadata
        decisive: dict[str, object] = {
            "unique": rules.unique,
            "content": rules.content,
            "file_name": rules.file_name,
            "digest": rules.digest if rules.derive else None,
            "derive": rules.derive,
            "required": sorted(set(rules.required)),
            "include": None if rules.include is None else sorted(set(rules.include)),
            "exclude": sorted(set(rules.exclude)),
        }
        if rules.lines:
            decisive["lines"] = True
        if self.dates:
            decisive["dates"] = self.dates
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:32]


DEFAULT = Config()
"""What holds where there is no config.yml."""


def load_config(path: Path) -> Config:
    """Read config.yml; what holds by default where there is none, or an empty one.

    Raises:
        ConfigError: it cannot be read or is not valid; the message names file, line, key, reason and near misses.
    """
    try:
        document = read_yaml(path, ConfigError)
    except FileNotFoundError:
        return DEFAULT
    return validate(Config, document.value if document.value is not None else {}, document)
