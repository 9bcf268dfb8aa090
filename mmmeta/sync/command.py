"""A program of the user's own that pulls or pushes, in place of mmmeta: an argument list, never a shell line."""

from __future__ import annotations

import os
import shlex
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from mmmeta.errors import SyncError
from mmmeta.layout import Layout
from mmmeta.masking import said, shown
from mmmeta.program import run_program
from mmmeta.project.syncing import PATH
from mmmeta.writing import make_folder

LINES = 5
"""Lines of what a program said last, in the error."""


@dataclass(frozen=True)
class Ran:
    """A program that has ended well.

    Attributes:
        shown: its line, as a person would type it, without secrets.
    """

    shown: str


def run_command(run: Sequence[str], folder: str, layout: Layout, stopped: threading.Event) -> Ran:
    """Run a program to its end; its environment is this one's, stdin is empty, stdout goes nowhere.

    Args:
        run: the program, and its arguments; ``{path}`` in them is the base path.
        folder: where it runs; a program with a slash in its name is relative to it.

    Raises:
        SyncError: it is not there, or said that it failed.
    """
    arguments, line = _filled(run, layout), command_line(run, layout)
    name = os.path.expanduser(arguments[0])
    program = shutil.which(os.path.join(folder, name) if "/" in name else name)
    if program is None:
        where = f"as an executable in {folder}" if "/" in name else "in PATH"
        raise SyncError(
            f"the program {name!r} that syncs was not found {where}. Install it, or mend sync: in the project file"
        )
    try:
        make_folder(layout.base)
        ended = run_program(
            [os.path.abspath(program), *arguments[1:]],
            folder=folder,
            environment=os.environ,
            timeout=None,
            stopped=stopped,
        )
    except OSError as error:
        raise SyncError(f"{line}: cannot be started: {error.strerror}") from error
    if ended.stopped:
        raise SyncError(f"{line}: was stopped")
    if ended.code:
        how = f"ended with {ended.code}" if ended.code > 0 else f"was ended by signal {-ended.code}"
        lines = [said(text, 300) for text in ended.stderr.strip().splitlines()[-LINES:] if text.strip()]
        raise SyncError(f"{line}: {how}{': ' if lines else ''}{' / '.join(lines)}")
    return Ran(line)


def command_line(run: Sequence[str], layout: Layout) -> str:
    """A program's line as a person would type it, without secrets."""
    return shown(shlex.join(_filled(run, layout)))


def _filled(run: Sequence[str], layout: Layout) -> list[str]:
    return [argument.replace(f"{{{PATH}}}", str(layout.base)) for argument in run]
