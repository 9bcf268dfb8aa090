"""What tells problems: errors and warnings become words on stderr, and exit codes for scripts.

A verb that has done what it was asked leaves with 0; with 1 after an error, with 2 (click's own) after a usage error,
with 3 where it is done but something was set aside, has failed, is wrong or needs a person. A run that a signal stopped leaves with 128 +
the signal's number.
"""

from __future__ import annotations

import errno
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mmmeta.cli.targets import Target

DONE = 0
ERROR = 1
WITH_PROBLEMS = 3
"""Done, but some files were set aside or failed, or what was looked at is not as it should be."""


def worst(codes: Iterable[int]) -> int:
    """The exit code that says most: an error before what was found, both before 0."""
    return max(codes, key=(DONE, WITH_PROBLEMS, ERROR).index, default=DONE)


def error_text(error: Exception) -> str | None:
    """What to tell a person about an error, or None where it is no such error (a bug, click's own, a closed pipe).

    One line, but for a file that people write: of its mistakes each has one.
    """
    from mmmeta.errors import InvalidFileError, MmmetaError

    if isinstance(error, InvalidFileError):
        return "\n".join(" ".join(line.split()) for line in str(error).splitlines())
    if isinstance(error, MmmetaError) or (isinstance(error, OSError) and error.errno not in (None, errno.EPIPE)):
        return " ".join(str(error).split()) or type(error).__name__
    return None


def failure_text(error_type: str | None, message: str | None) -> str:
    """How a file failed, ``ValueError: no title``; an empty text for one that did not."""
    return f"{error_type}: {message}" if error_type else ""


def note_error(place: str, error: Exception) -> str:
    """Say on stderr which error ended a part of the work, while the rest goes on.

    Returns:
        What was said of the error.

    Raises:
        Exception: ``error``, where it is none to tell a person about.
    """
    from mmmeta.cli.output import note

    message = error_text(error)
    if message is None:
        raise error
    first, *others = message.split("\n")
    note(f"Error: {place}: {first}")
    for line in others:
        note(line)
    return message


def act_on(ctx: click.Context, targets: list[Target], action: Callable[[Target], int]) -> None:
    """Do something with each metadir and leave with the worst exit code.

    Of several, one that cannot be worked on is named and does not stop the others.
    """
    codes = set()
    for target in targets:
        try:
            codes.add(action(target))
        except Exception as error:
            if len(targets) == 1:
                raise
            note_error(target.name, error)
            codes.add(ERROR)
    if code := worst(codes):
        ctx.exit(code)


@contextmanager
def in_words() -> Iterator[None]:
    """What goes wrong in the block is told in words: without a traceback, and without anything that steers a terminal.

    Raises:
        click.ClickException: instead of an error that a person can be told about; it leaves with ``ERROR``.
    """
    try:
        with _warnings_in_words():
            yield
    except Exception as error:
        message = error_text(error)
        if message is None:
            raise
        from mmmeta.masking import visible

        raise click.ClickException("\n".join(map(visible, message.split("\n")))) from error


@contextmanager
def _warnings_in_words() -> Iterator[None]:
    """Warnings as one line on stderr, without the path and line of code that Python adds."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        from mmmeta.cli.output import note

        note(f"Warning: {message}")

    before = warnings.showwarning
    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before
