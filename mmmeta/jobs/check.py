"""``mmmeta check``: proves that the state db is what was merged, and the ledger what is really there.

Reads everything, so it costs several times a cold update. Nothing is changed.
"""

from __future__ import annotations

from dataclasses import dataclass

from mmmeta.fingerprints import DIGEST_MODULUS, digest_bytes
from mmmeta.jobs.bench import Bench
from mmmeta.jobs.elsewhere import what_to_do
from mmmeta.jobs.results import look_for_results
from mmmeta.reports import FirstFew, Progress
from mmmeta.state.cells import read_cells
from mmmeta.state.state import State

PROBLEMS_KEPT = 1_000
"""Problems named in a report; all are counted."""

AT_ONCE = 500
"""Files between two signs of progress."""


@dataclass(frozen=True)
class CheckProblem:
    """Something that is not as it should be.

    Attributes:
        where: ``state db``, or the name of a job.
        file: unique value; None where it concerns no single file.
    """

    where: str
    file: str | None
    message: str


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Attributes:
        files: how many files' cells were compared with their fingerprints.
        documents: how many done files were looked for where their jobs put them.
        unchecked: jobs whose results cannot be looked for (functions and commands).
        problems: how many; ``named`` has the first 1,000.
    """

    files: int
    documents: int
    unchecked: tuple[str, ...]
    problems: int
    named: tuple[CheckProblem, ...]


class Checker:
    """Checks one client.

    Args:
        jobs: whose results are looked for.
        progress: called with what is looked at, how many, and None for of how many.
    """

    def __init__(self, state: State, jobs: list[Bench], progress: Progress | None = None) -> None:
        self._state = state
        self._jobs = jobs
        self._progress = progress
        self._problems = FirstFew[CheckProblem](PROBLEMS_KEPT)
        self._files = 0
        self._documents = 0

    def run(self) -> CheckReport:
        """Look at everything.

        Raises:
            StateDbError: the state db cannot be read at all.
        """
        if not self._state.database.is_sound():
            self._add("state db", None, "SQLite finds the file damaged; see PRAGMA integrity_check")
        self._check_cells()
        self._check_counts()
        unchecked = [bench.config.name for bench in self._jobs if not self._check_results(bench)]
        return CheckReport(
            self._files, self._documents, tuple(unchecked), self._problems.count, tuple(self._problems.named)
        )

    def _add(self, where: str, file: str | None, message: str) -> None:
        self._problems.add(CheckProblem(where, file, message))

    def _check_cells(self) -> None:
        """Each file's cells against its fingerprint, and the sum of the fingerprints against the digest."""
        merged = self._state.ensure()
        total = 0
        for cells in read_cells(self._state.database, merged.unique):
            self._files += 1
            if self._progress is not None and self._files % AT_ONCE == 0:
                self._progress("cells of files", self._files, None)
            total += int.from_bytes(cells.fingerprint, "big")
            if not cells.fit:
                self._add("state db", cells.file, "its cells are not what its fingerprint says")
        if digest_bytes(total % DIGEST_MODULUS) != merged.digest:
            self._add("state db", None, "the files are not those that were merged; `mmmeta update --replace` mends it")

    def _check_counts(self) -> None:
        with self._state.ledger.looking() as view:
            for job, sentence in view.miscounts():
                self._add(job, None, sentence)

    def _check_results(self, bench: Bench) -> bool:
        """Whether what the ledger calls done is there; False where that cannot be looked for."""
        name = bench.config.name
        results = look_for_results(bench, progress=self._progress, keep=PROBLEMS_KEPT)
        self._documents += results.looked
        for file, reason in results.named.items():
            self._add(name, file, f"done, but {reason}")
        self._problems.count += results.missing - len(results.named)
        if results.problem is not None:
            self._add(name, None, f"cannot be looked at: {results.problem}")
        if results.elsewhere is not None:
            self._add(name, None, f"{results.elsewhere}. {what_to_do(name)}")
        return results.known
