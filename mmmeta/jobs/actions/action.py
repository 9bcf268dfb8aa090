"""What an action is: it gets claimed files and says of each how it ended.

It never touches the ledger. One bad file is one failed outcome, the others go on.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from mmmeta.files.file import File
from mmmeta.state.ledger.sqlite import ERROR_LINES, Claim, Outcome


@dataclass(frozen=True)
class Item:
    """One claimed file."""

    file: File
    claim: Claim


class Action(Protocol):
    """Works on claimed files.

    Attributes:
        batched: whether ``process`` wants all files at once; otherwise it gets one at a time, from several threads
            where the job has workers.
        keeps_time: whether it ends by itself when the job's ``timeout`` is over.
    """

    batched: bool
    keeps_time: bool

    def retract(self, items: Sequence[Item]) -> list[Outcome]:
        """Undo what ``process`` did with files that were deleted since."""

    def process(self, items: Sequence[Item]) -> list[Outcome]:
        """Work on files and say of each how it ended; raises nothing for a file's own failure."""

    def missing(self, files: Sequence[File]) -> dict[str, str] | None:
        """Which of these files are not, in their present version, where the action puts them: unique value → why, in
        words that follow "but". None where that cannot be known."""

    def close(self) -> None:
        """Let go of connections."""


@runtime_checkable
class Interruptible(Protocol):
    """An action that can end what it is at in other threads, when the run is ended at once."""

    def interrupt(self) -> None:
        """End it soon. ``process`` then leaves out the outcomes of files that it did not finish: they count as
        untried."""


def failed(claim: Claim, error: BaseException) -> Outcome:
    """The outcome of a file whose processing raised: type, message and the last lines of the traceback."""
    try:
        message = str(error) or repr(error)
    except Exception:  # somebody's own __str__ or __repr__
        message = "its message cannot be shown"
    try:
        lines = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except Exception:
        lines = ""
    return Outcome(claim, type(error).__name__, message, lines[-ERROR_LINES:])
