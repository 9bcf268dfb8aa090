"""The code blocks of a Markdown document, and what its directives say. ``docs_runner`` runs them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

FENCE = re.compile(r"^( *)(```+|~~~+) *([A-Za-z0-9_+-]*) *$")
DIRECTIVE = re.compile(r"<!-- *test: *(.*?) *-->")
FILE_NAME = re.compile(r"^# *(?:file: *)?((?:\./)?[\w./-]+\.(?:ya?ml|py|json))\s*$")


class DocumentError(AssertionError):
    """A block does not do what the document says; the message names file and line."""


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        language: the word after the fence.
        text: its lines, without the fence's indentation.
        line: line number of its first line of content.
        directives: what comments of the form ``<!-- test: key=value -->`` above it say.
    """

    language: str
    text: str
    line: int
    directives: dict[str, str]


def blocks(text: str) -> Iterator[Block]:
    """The blocks of a document. A directive counts for the next block only."""
    lines = text.splitlines()
    directives: dict[str, str] = {}
    at = 0
    while at < len(lines):
        found = FENCE.match(lines[at])
        if not found:
            if note := DIRECTIVE.search(lines[at]):
                key, _, value = note[1].partition("=")
                directives[key.strip()] = value.strip()
            at += 1
            continue
        indent, fence, language = len(found[1]), found[2], found[3].lower()
        start = at + 1
        end = next((i for i in range(start, len(lines)) if lines[i].strip() == fence), None)
        if end is None:
            raise DocumentError(f"line {at + 1}: the block does not end")
        content = "\n".join(
            line[indent:] if line[:indent].isspace() or not indent else line for line in lines[start:end]
        )
        yield Block(language, content, start + 1, directives)
        directives, at = {}, end + 1


def outside_blocks(text: str) -> str:
    """The document without its fenced blocks."""
    return re.sub(r"^( *)(```+|~~~+).*?^ *\2 *$", "", text, flags=re.MULTILINE | re.DOTALL)


def setup_of(text: str) -> str | None:
    """The preparation that a document asks for with ``<!-- test: setup=… -->``."""
    found = re.search(r"<!-- *test: *setup=([\w-]+) *-->", outside_blocks(text))
    return found[1] if found else None


def same(got: str, shown: str) -> bool:
    """Whether a text is what a document shows. ``…`` stands for anything in a line, alone for any number of lines."""
    lines = [re.sub(r"\s+", " ", line.strip()) for line in shown.strip().splitlines()]
    pattern = ""
    for line in lines:
        if line in ("…", "..."):
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += ".*?".join(re.escape(part) for part in line.split("…")) + r"\n"
    text = "".join(re.sub(r"\s+", " ", line.strip()) + "\n" for line in got.strip().splitlines())
    return re.fullmatch(pattern, text) is not None


def file_name(block: Block) -> str | None:
    """Where a block is to be written: its directive ``file=…``, or a first line that is nothing but a comment with it."""
    if "file" in block.directives:
        return block.directives["file"]
    found = FILE_NAME.match(block.text.partition("\n")[0])
    return found[1] if found else None
