"""What workers without files are told of them: of each selected file its metadata verbatim, and what holds for all.

A payload is one JSON text, as metadata files are: no database has to understand what is in it, and every value comes back
as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from mmmeta.values import json_text, parse_json_text

FINGERPRINT = "__fingerprint"

LONGEST = 100_000_000
"""Bytes of a payload; PostgreSQL takes ten times as much in one value, and a worker has to hold a batch of them."""


class Payload(NamedTuple):
    """What is told of one file.

    Attributes:
        revision: of the metadata db that brought this version; None for one that was never published.
        text: JSON.
    """

    file: str
    revision: int | None
    text: str


class Teller(Protocol):
    """Tells of files what a worker without files needs, as of the moment at which they were offered."""

    @property
    def common(self) -> str:
        """What holds for all files, as ``write_common`` wrote it."""

    def payloads(self, names: Sequence[str]) -> Iterable[Payload]:
        """Those of these files that there are, deleted ones too, each once."""


@dataclass(frozen=True)
class Told:
    """One file as a worker without files gets it.

    Attributes:
        meta: what the remote sent.
        own: what clients have set.
        system: mmmeta's own columns by name, but for those that only one client's database has.
    """

    meta: dict[str, Any]
    own: dict[str, Any]
    system: dict[str, Any]


@dataclass(frozen=True)
class Common:
    """What holds for all files.

    Attributes:
        unique: the key that identifies a file.
        keys: all keys that files have.
        config: what config.yml says, as JSON types.
    """

    unique: str
    keys: tuple[str, ...]
    config: Mapping[str, Any] = field(default_factory=dict)


def write_payload(meta: Mapping[str, Any], system: Mapping[str, Any]) -> str:
    """A payload's text."""
    print_ = system.get(FINGERPRINT)
    return json_text({"meta": meta, "system": {**system, FINGERPRINT: None if print_ is None else bytes(print_).hex()}})


def read_payload(text: str, own: str | None) -> Told:
    """What ``write_payload`` was given.

    Args:
        own: what clients have set, as a JSON text; None for nothing.
    """
    known = parse_json_text(text)
    system = known["system"]
    if system[FINGERPRINT] is not None:
        system[FINGERPRINT] = bytes.fromhex(system[FINGERPRINT])
    return Told(known["meta"], {} if own is None else parse_json_text(own), system)


def write_common(unique: str, keys: Sequence[str], config: Mapping[str, Any]) -> str:
    """What holds for all files, as text."""
    return json_text({"unique": unique, "keys": list(keys), "config": config})


def read_common(text: str) -> Common:
    """What ``write_common`` was given."""
    known = parse_json_text(text)
    return Common(known["unique"], tuple(known["keys"]), known["config"])
