"""What an action is: it gets claimed files and says of each how it ended.

It never touches the ledger. One bad file is one failed outcome, the others go on.
"""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from mmmeta.errors import JobError, is_exhausted
from mmmeta.files.claim import FileClaim
from mmmeta.files.file import File
from mmmeta.state.ledger.outcomes import ERROR_LINES, Claim, Outcome, Place


class Done(NamedTuple):
    """A file that was done, or that may have been.

    Attributes:
        place: where its result is; None where nobody knows.
    """

    file: File
    place: Place | None


class Action(ABC):
    """Works on claimed files.

    Attributes:
        batched: whether ``process`` wants all files at once; otherwise it gets one at a time, from several threads
            where the job has workers.
        keeps_time: whether it ends by itself when the job's ``timeout`` is over.
    """

    batched: bool
    keeps_time: bool

    def prepare(self, files: Sequence[File]) -> None:  # noqa: B027
        """Get ready for a batch of claimed files; called once for each, before any of them is worked on."""

    @abstractmethod
    def retract(self, files: Sequence[File]) -> list[Outcome]:
        """Undo what ``process`` did with files that were deleted since."""

    @abstractmethod
    def process(self, files: Sequence[File]) -> list[Outcome]:
        """Work on files and say of each how it ended; raises nothing for a file's own failure."""

    def place(self, file: File) -> Place | None:
        """Where the action puts the file's result; None where it does not know.

        Raises:
            MmmetaError: the file's metadata do not give a place.
        """
        return None

    def missing(self, done: Sequence[Done]) -> dict[str, str] | None:
        """Which of these files are not, in their present version, where they were put: unique value → what is there
        instead. Where no place is known it is looked for where the action would put it. None where that cannot be
        known."""
        return None

    def close(self) -> None:  # noqa: B027
        """Let go of connections."""


@runtime_checkable
class Interruptible(Protocol):
    """An action that can end what it is at in other threads, when the run is ended at once."""

    def interrupt(self) -> None:
        """End it soon. ``process`` then leaves out the outcomes of files that it did not finish: they count as
        untried."""


def claim_of(file: File) -> FileClaim:
    """The claim of a file that an action was given."""
    assert file.claim is not None
    return file.claim


def undone_here(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """How undoing ended for an action that puts nothing anywhere: what another action of the job, which it had before, has
    put somewhere is there still."""
    return [
        outcome if not (outcome.ok and outcome.claim.places) else failed(outcome.claim, _still_there(outcome.claim))
        for outcome in outcomes
    ]


def _still_there(claim: Claim) -> JobError:
    places = ", ".join(f"{place.name} in {place.target}" for place in claim.places)
    return JobError(
        f"what the job did before it had this action is still there: {places}. Remove it by hand, and settle this with "
        "`mmmeta jobs dismiss`"
    )


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


def file_failed(claim: Claim, error: BaseException) -> Outcome:
    """The same for an action, where the file is to blame.

    Raises:
        JobError: it is not, for this process has too many files open: the run ends, and nobody's attempts are used up.
    """
    if is_exhausted(error):
        raise JobError(
            f"too many files are open, no file is to blame: {error}. Raise the limit (`ulimit -n`), or give the job fewer "
            "`workers`"
        ) from error
    return failed(claim, error)
