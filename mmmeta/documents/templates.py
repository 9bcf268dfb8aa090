"""Templates such as ``https://x/{publisher:id|unknown}/{_file_name}``: literal text, metadata keys and what stands for them
where a file has none, nothing else.

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
_KEY_AND_DEFAULT = re.compile(r"((?:[^|]|\|\|)*)(?:\|(.*))?", re.DOTALL)
_UP_TO_HOST = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#\\]*[/?#]")


@dataclass(frozen=True)
class Placeholder:
    """A metadata key; its value is filled in here.

    Attributes:
        default: what stands here where the value is absent, null or empty; None where that is an error.
    """

    key: str
    default: str | None = None


@dataclass(frozen=True)
class Template:
    """A template taken apart.

    Attributes:
        text: as it was written.
        parts: literal texts and placeholders, in order.
    """

    text: str
    parts: tuple[str | Placeholder, ...]

    def fill(self, value_of: Callable[[Placeholder, str], str]) -> str:
        """The text with every placeholder filled; ``value_of`` gets the placeholder and everything that stands before it.

        A folder that is nothing but empty values falls away: ``{dir}/{name}`` is ``a.pdf`` where ``dir`` is empty.
        """
        done = ""
        hollow = False  # there is nothing but empty values since the last slash
        for part in self.parts:
            if isinstance(part, Placeholder):
                text = value_of(part, done)
                hollow = not text and (hollow or not done or done.endswith("/"))
            else:
                # Only a slash of the template's own: one that a value brings is for whoever fills it in to judge.
                text = part[1:] if hollow and part.startswith("/") else part
                hollow = False
            done += text
        return done

    def optional_keys(self) -> frozenset[str]:
        """The keys that a file may lack: with a default wherever they stand."""
        placeholders = [part for part in self.parts if isinstance(part, Placeholder)]
        needed = {part.key for part in placeholders if part.default is None}
        return frozenset(part.key for part in placeholders) - needed


@lru_cache(maxsize=256)
def parse_template(text: str) -> Template:
    """Take a template apart.

    The first ``|`` ends a key, and what follows it is the default; a key that has one in it writes it twice: ``{a||b}``.

    Raises:
        RemoteTemplateError: a brace without its partner, or a placeholder without a key.
    """
    parts: list[str | Placeholder] = []
    for match in _PIECES.finditer(text):
        inner, literal, brace = match.groups()
        if brace is not None:
            raise RemoteTemplateError(
                f"template {text!r}: the {brace!r} at character {match.start() + 1} has no partner. A metadata key is "
                f"written {{key}}, or {{key|default}} with a default of plain text; a brace itself cannot be written."
            )
        parts.append(literal if inner is None else _placeholder(text, inner))
    return Template(text, tuple(parts))


def _placeholder(text: str, inner: str) -> Placeholder:
    found = _KEY_AND_DEFAULT.fullmatch(inner)
    key, default = found.groups() if found else (inner, None)
    if not key.strip():
        raise RemoteTemplateError(f"template {text!r}: {{{inner}}} names no key. Write one, such as {{_file_name}}.")
    if default is not None and key != key.strip():
        # With a default nobody would ever notice that no file has such a key.
        raise RemoteTemplateError(
            f"template {text!r}: the key in {{{inner}}} begins or ends with a space. Write {{{key.strip()}|{default}}}."
        )
    return Placeholder(key.replace("||", "|"), default)


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
