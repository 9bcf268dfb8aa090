"""Templates such as ``https://x/{publisher:id}/{_file_name}``: literal text and metadata keys, nothing else.

There is no ``str.format`` here, because templates come from the remote: no attribute, no index, no conversion, no code.
What may stand for a placeholder is decided by whoever fills it in (``rendering``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from mmmeta.errors import RemoteTemplateError

_PIECES = re.compile(r"\{([^{}]*)\}|([^{}]+)|([{}])")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_UP_TO_HOST = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#\\]*[/?#]")


@dataclass(frozen=True)
class Placeholder:
    """A metadata key; its value is filled in here."""

    key: str


@dataclass(frozen=True)
class Template:
    """A template taken apart.

    Attributes:
        text: as it was written.
        parts: literal texts and placeholders, in order.
    """

    text: str
    parts: tuple[str | Placeholder, ...]

    def fill(self, value_of: Callable[[str, str], str]) -> str:
        """The text with every placeholder filled; ``value_of`` gets the key and everything that stands before it."""
        done = ""
        for part in self.parts:
            done += value_of(part.key, done) if isinstance(part, Placeholder) else part
        return done


@lru_cache(maxsize=256)
def parse_template(text: str) -> Template:
    """Take a template apart.

    Raises:
        RemoteTemplateError: a brace without its partner, or a placeholder without a key.
    """
    parts: list[str | Placeholder] = []
    for match in _PIECES.finditer(text):
        key, literal, brace = match.groups()
        if brace is not None:
            raise RemoteTemplateError(
                f"template {text!r}: the {brace!r} at character {match.start() + 1} has no partner. A metadata key is "
                f"written {{key}}; a brace itself cannot be written."
            )
        if key is not None and not key.strip():
            raise RemoteTemplateError(f"template {text!r}: {{{key}}} names no key. Write one, such as {{_file_name}}.")
        parts.append(literal if key is None else Placeholder(key))
    return Template(text, tuple(parts))


@lru_cache(maxsize=256)
def parse_url_template(text: str) -> Template:
    """Take a URL template apart and make sure that no value can decide scheme or host.

    Raises:
        RemoteTemplateError: as ``parse_template``, or a key stands in (or before) scheme, host or port.
    """
    template = parse_template(text)
    if not any(isinstance(part, Placeholder) for part in template.parts):
        return template
    first = template.parts[0]
    prefix = first if isinstance(first, str) else ""
    rest = "".join(part for part in template.parts if isinstance(part, str))[len(prefix) :]
    open_host = prefix.startswith(("//", "\\")) or (_SCHEME.match(prefix) and not _UP_TO_HOST.match(prefix))
    if open_host or (not _SCHEME.match(prefix) and "://" in rest):
        raise RemoteTemplateError(
            f"template {text!r}: a key stands where scheme or host are decided. Write them out, with the slash after "
            f"the host: https://example.org/{{key}}."
        )
    return template
