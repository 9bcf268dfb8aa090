"""How much one run may still do: files and bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

from mmmeta.files.file import File
from mmmeta.project.job import Limit
from mmmeta.state.candidates import told_size
from mmmeta.state.ledger.outcomes import Outcome


class Budget:
    """What is left of a job's limit.

    Args:
        own: the definition's limit.
        files: files at most, in place of the definition's number.
    """

    def __init__(self, own: Limit | None, files: int | None) -> None:
        self.files = files if files is not None else (own.files if own is not None else None)
        """Files left; None for any number."""
        self._bytes = own.bytes if own is not None else None
        self._sizes: dict[str, int] = {}

    @property
    def counts_bytes(self) -> bool:
        """Whether it shows only after a file how much is left."""
        return self._bytes is not None

    @property
    def spent(self) -> bool:
        """Whether nothing is left."""
        return (self.files is not None and self.files <= 0) or (self._bytes is not None and self._bytes <= 0)

    def at_most(self, count: int) -> int:
        """So many files, or as many as are left."""
        return count if self.files is None else min(count, self.files)

    def look_at(self, files: Iterable[File]) -> None:
        """Note the sizes of a batch's documents, as their metadata tells them."""
        if self._bytes is not None:
            self._sizes = {file.unique_value: told_size(file.get) for file in files}

    def affordable(self, files: Sequence[File]) -> int:
        """How many of a batch are done at once: all, unless their documents are more bytes than are left."""
        if self._bytes is None:
            return len(files)
        sums = accumulate(self._sizes.get(file.unique_value, 0) for file in files)
        return next((count for count, size in enumerate(sums, start=1) if size >= self._bytes), len(files))

    def spend(self, outcomes: Sequence[Outcome]) -> None:
        """Take off what was worked on."""
        if self.files is not None:
            self.files -= sum(outcome.postponed is None for outcome in outcomes)
        if self._bytes is not None:
            # What the action reports, else, where it does not read documents itself, what the metadata tells.
            for outcome in outcomes:
                if outcome.ok and not outcome.claim.retract:
                    told = self._sizes.get(outcome.claim.file, 0)
                    self._bytes -= told if outcome.bytes is None else outcome.bytes
