"""Markdown for Dagster's UI: tables and lists of what comes from documents, which must not become markup itself."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import dagster as dg

from mmmeta.masking import shown, visible
from mmmeta.project import MetadirConfig

ROWS = 50
"""Rows of a table of failures or problems; each event is stored whole in Dagster's database."""

CELL = 300
"""Letters of a cell; an error message can be a page long."""

SENTENCE = 1_000
"""Letters of a note."""

INLINE = 999
"""Letters up to which the UI shows Markdown where it stands; longer ones it hides behind "Show Markdown"."""

WORD = 30
"""Letters of a word that an asset's page has room for at 1,280 pixels; a longer one would make its table wider than the page,
and cut off whatever stands in it."""

LONGEST_URL = 2_000
"""Letters of a link; browsers and servers take no much longer ones."""

_DIGEST = re.compile(
    r"(?<![A-Za-z0-9])(?:[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|(?=[A-Za-z]*[0-9])[A-Za-z0-9]{32,})(?![A-Za-z0-9])"
)
"""What nobody reads, and no line breaks: digests, UUIDs, ids as long as these."""


BREAK = "\u200b"
"""Where a browser may break a word. HTML's own ``<wbr>`` the UI takes out of Markdown."""

_LONG_WORD = re.compile(rf"\S{{{WORD + 1},}}")


@dataclass(frozen=True)
class Link:
    """A text that leads somewhere, if that is a web address without a login in it; otherwise just the text."""

    text: str
    url: str | None = None


def table(
    head: Sequence[str], rows: Sequence[Sequence[object]], total: int, more: str | None = None
) -> dg.MarkdownMetadataValue:
    """A Markdown table; says how many rows it leaves out, and with which command (``more``) they are to be had."""
    lines = [_row(head), _row(["---"] * len(head)), *(_row(row) for row in rows[:ROWS])]
    left_out = max(total, len(rows)) - min(len(rows), ROWS)
    if left_out > 0:
        lines += ["", f"… and {left_out:,} more{':' if more else '.'}"]
    if more is not None and left_out > 0:
        lines += ["", f"    {more}"]
    return dg.MetadataValue.md("\n".join(lines))


def sentences(notes: Iterable[object]) -> dg.MarkdownMetadataValue:
    """Sentences as a list."""
    return dg.MetadataValue.md("\n".join(f"- {cell(note, SENTENCE)}" for note in notes))


def bullets(values: Mapping[str, object]) -> dg.MarkdownMetadataValue:
    """Names and values as a list."""
    return dg.MetadataValue.md("\n".join(f"- {name}: {cell(value)}" for name, value in values.items()))


def size_in_ui(text: str) -> int:
    """Letters as a browser counts them, for ``INLINE``."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def short_digests(text: str) -> str:
    """A text with the beginnings of its digests: enough to tell one from another, and to find it."""
    return _DIGEST.sub(lambda found: f"{found[0][:8]}…", text)


def breakable(text: str) -> str:
    """A text in which a browser may break long words: after a sign where there is one, and in between where there is none.

    The break is a space of no width: nothing is left out, and the words look as they are. Such a space is copied with the
    word; in a command see ``command``.
    """
    return _LONG_WORD.sub(_broken, text)


def command(metadir: MetadirConfig, words: str) -> str:
    """A command about a metadir that works when it is copied, with a path that a browser may break: mmmeta passes over the
    breaks in the options that choose a metadir, and in nothing else."""
    whole = metadir.command(words)
    if not whole.startswith("mmmeta "):  # what stands before it is read by others
        return whole
    return breakable(whole.removesuffix(words)) + words


def _broken(found: re.Match[str]) -> str:
    word, parts = found[0], []
    while len(word) > WORD:
        signs = (at for at in range(WORD, WORD // 3, -1) if not word[at - 1].isalnum())
        end = next((at for at in signs if not _goes_on(word, at)), None)
        if end is None:
            end = next((at for at in range(WORD, 0, -1) if not _goes_on(word, at)), WORD)
        parts.append(word[:end])
        word = word[end:]
    return BREAK.join((*parts, word))


def _goes_on(word: str, at: int) -> bool:
    """Whether what stands here belongs to the sign before it, like an accent that is a letter of its own."""
    return unicodedata.category(word[at]).startswith("M") or "\u200d" in word[at - 1 : at + 1]


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(cell(one) for one in cells)} |"


def cell(value: object, longest: int = CELL) -> str:
    """A value as it can stand in a table or a list."""
    if isinstance(value, Link):
        address = _address(value.url)
        return f"[{cell(value.text)}](<{address}>)" if address else cell(value.text)
    text = short_digests(visible(shown(" ".join(str(value).split()))))
    text = breakable(text if len(text) <= longest else f"{text[: longest - 1]}…")
    # Names and messages come from documents: they must not become markup or end the cell.
    for letter in "\\`*_[]<>|&~#":  # an entity (&#8238;) stands for a sign that was made visible
        text = text.replace(letter, f"\\{letter}")
    return text


def _address(url: str | None) -> str | None:
    """A web address that cannot end the link that it stands in; None for anything else, and for one with a secret in it:
    a password, a token, a signature."""
    if url is None or len(url) > LONGEST_URL:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return None
    if shown(url) != url:  # whoever has the link could fetch the document, or more
        return None
    return quote(url, safe=":/?#@!$&'()*+,;=%~[]")
