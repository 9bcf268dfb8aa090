"""Where a verb writes what other programs read: stdout, or a file that takes its name only when everything is in it."""

from __future__ import annotations

import codecs
import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from mmmeta.cli.output import UNENCODABLE
from mmmeta.errors import MmmetaError, remedy_of
from mmmeta.layout import METADIR
from mmmeta.masking import visible
from mmmeta.sqlite.headers import HEADER_BYTES, IN_USE, is_sqlite

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

    from mmmeta.metadir import Metadir

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


def require_writable(output: str | None, metadir: Metadir) -> None:
    """Refuse a file that must not be replaced, before the work.

    Raises:
        click.UsageError: it is a folder, or in none; a database, or in a metadir; or the server's next ``generate`` would
            take it for metadata.
    """
    if output in STDOUT:
        return
    path = Path(os.path.realpath(output or ""))  # a link stays one
    if path.is_dir():
        raise click.UsageError(f"{output} is a folder: give the name of a file.")
    if _is_no_file(output or ""):
        return
    if not path.parent.is_dir():
        raise click.UsageError(f"{output} cannot be made: its folder is not there.")
    if METADIR in path.parts:
        raise click.UsageError(f"{output} belongs to a metadir: give another name.")
    if path.is_file() and _is_database(path):
        raise click.UsageError(f"{output} is a database: give another name.")
    root = Path(os.path.realpath(metadir.layout.files_root))
    if metadir.is_server and path.suffix.lower() in (".json", ".jsonl") and path.is_relative_to(root):
        raise click.UsageError(
            f"{output} lies among the metadata files, and the next `mmmeta generate` would take it for one: give another "
            f"folder than {root}, or --format csv."
        )


def _is_database(path: Path) -> bool:
    # Opening by hand what is open as a database would end its locks: the state db may lie anywhere.
    with IN_USE.peek(path) as header:
        return header is None or (len(header) == HEADER_BYTES and is_sqlite(header))


def _is_no_file(output: str) -> bool:
    """Whether there is a device, a pipe or the like, which is written to and not replaced."""
    try:
        return not stat.S_ISREG(os.stat(output).st_mode)
    except OSError:
        return False


@contextmanager
def _aside(output: str | None) -> Iterator[BinaryIO]:
    if _is_no_file(output or ""):
        with open(output or "", "wb") as stream:
            yield stream
        return
    path = Path(os.path.realpath(output or ""))
    part = path.with_name(f".{path.name[:40]}.{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            with suppress(FileNotFoundError):  # who may read the older one may read this, nobody else
                os.fchmod(stream.fileno(), stat.S_IMODE(path.stat().st_mode))
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        raise MmmetaError(f"{output} cannot be written: {error.strerror or error}; {remedy_of(error)}") from error
    finally:
        part.unlink(missing_ok=True)


class _Shown:
    """A terminal, on which nothing that is written steers it."""

    def __init__(self, stream: SupportsWrite[str]) -> None:
        self._stream = stream

    def write(self, text: str, /) -> object:
        return self._stream.write("\n".join(map(visible, text.split("\n"))))
