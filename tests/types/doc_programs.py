"""The Python of README and docs as programs for type checkers: a module for each page, line by line as in the page."""

from __future__ import annotations

import doctest
from collections.abc import Iterable
from pathlib import Path

from docs_blocks import Block, blocks, file_name

STAND_INS = """
from typing import Any
scraper: list[dict[str, Any]]
def download(url: str) -> None: ...
def process_import(file: Any) -> None: ...
"""
"""What ``test_docs`` hands to the blocks as the reader's own code, for a file ``__builtins__.pyi``."""


def write_programs(documents: Iterable[Path], folder: Path) -> list[Path]:
    """Write each page's Python below ``folder``: what is shown as a file as that file, all else as one module beside it.

    Returns:
        The folders of the pages, from which their modules are imported.
    """
    return [page for document in documents if (page := _write_page(document, folder / document.stem)) is not None]


def _write_page(document: Path, folder: Path) -> Path | None:
    story: list[str] = []
    for block in blocks(document.read_text(encoding="utf-8")):
        if "skip" in block.directives or block.language not in ("python", "py", "pycon"):
            continue
        name = file_name(block)
        if name is None:
            story += [""] * (block.line - 1 - len(story))
            story += _statements(block)
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(block.text + "\n", encoding="utf-8")
    if story:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"page_{document.stem.lower()}.py").write_text("\n".join(story) + "\n", encoding="utf-8")
    return folder if folder.exists() else None


def _statements(block: Block) -> list[str]:
    """The lines of a block; of a session at the prompt what was typed."""
    if block.language != "pycon" and not block.text.lstrip().startswith(">>>"):
        return block.text.splitlines()
    lines: list[str] = []
    for example in doctest.DocTestParser().get_examples(block.text):
        lines += [""] * (example.lineno - len(lines))
        lines += example.source.splitlines()
    return lines
