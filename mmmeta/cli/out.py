"""Where a verb writes what other programs read: stdout, or a file that takes its name only when everything is in it."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from mmmeta.cli.output import UNENCODABLE
from mmmeta.masking import visible

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

STDOUT = (None, "-")
"""What means stdout for ``--out``."""


@contextmanager
def opened_text(output: str | None) -> Iterator[SupportsWrite[str]]:
    """In UTF-8, for programs, whatever encoding stdout has."""
    if output in STDOUT:
        yield _Shown(sys.stdout) if sys.stdout.isatty() else codecs.getwriter("utf-8")(sys.stdout.buffer, UNENCODABLE)
        return
    with _aside(output) as stream:
        writer = codecs.getwriter("utf-8")(stream, UNENCODABLE)
        yield writer


@contextmanager
def opened_binary(output: str | None) -> Iterator[BinaryIO]:
    """For what is no text, which a terminal is spared.

    Raises:
        click.UsageError: stdout is a terminal.
    """
    if output in STDOUT:
        if sys.stdout.isatty():
            raise click.UsageError("This is no text for a terminal: name a file with --out FILE, or give it to a pipe.")
        yield sys.stdout.buffer
        return
    with _aside(output) as stream:
        yield stream


@contextmanager
def _aside(output: str | None) -> Iterator[BinaryIO]:
    path = Path(os.path.realpath(output or ""))  # a link stays one
    if path.is_dir():  # said before the work, not after it
        raise click.UsageError(f"{output} is a folder: give the name of a file.")
    part = path.with_name(f".{path.name[:40]}.{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


class _Shown:
    """A terminal, on which nothing that is written steers it."""

    def __init__(self, stream: SupportsWrite[str]) -> None:
        self._stream = stream

    def write(self, text: str, /) -> object:
        return self._stream.write("\n".join(map(visible, text.split("\n"))))
