"""A state's ledger into another database: from a file into PostgreSQL, and back.

What is at the source stays as it is. The target says that it is incomplete until all rows have arrived and were counted and
compared by a digest over them; a copy that was broken off is begun anew by the next one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from mmmeta.chunks import in_chunks
from mmmeta.clock import Clock, utcnow
from mmmeta.errors import StateDbError
from mmmeta.layout import Layout
from mmmeta.reports import Progress
from mmmeta.state.ledger.transfer import (
    BATCH,
    JOBS,
    LEDGER,
    OWN_VALUES,
    SECTIONS,
    LedgerEnd,
    Reading,
    Row,
    Section,
    Standing,
    Tally,
)
from mmmeta.state.liveness import living
from mmmeta.state.open import open_end

_NAMED = 5
"""Files that were left out are named up to so many; all are counted."""


@dataclass
class CopyReport:
    """What was copied.

    Attributes:
        source, target: where from and where to, without passwords.
        jobs: their names, sorted.
        rows: table → how many rows arrived.
        digests: table → a digest over them, the same at both ends.
        left_out: how many files of jobs, and files of which something was set, the target cannot keep, or not all of it;
            ``such_as`` has the first few.
    """

    source: str
    target: str
    jobs: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    left_out: int = 0
    such_as: list[str] = field(default_factory=list)
    dry_run: bool = False


def copy_state(
    source: Layout,
    target: Layout,
    *,
    dry_run: bool = False,
    clock: Clock = utcnow,
    progress: Progress | None = None,
) -> CopyReport:
    """Copy a state's ledger (jobs, files with their statuses and places, history) and what was set here.

    The id goes along, by which receipts in targets know the ledger, so of the two only one may have runs from now on. A
    state db that is not there yet is made, with the metadata merged.

    Args:
        source, target: one metadir's layout, with the state that is meant.
        dry_run: look whether it can be done, and count; write nothing.

    Raises:
        StateDbError: there is nothing to copy, the target is not empty, runs are at work, or what arrived is not what was
            sent; the target is then as it was, or says that it is incomplete.
    """
    with closing(open_end(source, clock)) as giver, closing(open_end(target, clock)) as taker:
        if giver.shown == taker.shown:
            raise StateDbError(f"{giver.shown} cannot be copied to itself: name another target")
        _require_source(giver)
        is_made = _require_target(taker, giver)
        for layout in (source, target):
            _require_quiet(layout)
        _require_idle([giver, taker] if is_made else [giver])
        report = CopyReport(giver.shown, taker.shown, dry_run=dry_run)
        _Copying(giver, taker, report, progress).run()
    return report


def _require_source(giver: LedgerEnd) -> None:
    standing = giver.standing()
    if standing is Standing.INCOMPLETE:
        raise StateDbError(
            f"{giver.shown} is itself what a copy has left that was broken off: give what it was made from"
        )
    if standing is Standing.EMPTY:
        with giver.reading() as reading:
            if next(reading.rows(OWN_VALUES), None) is None:
                raise StateDbError(f"nothing to copy from {giver.shown}: {standing.value}, and nothing was set there")
    elif standing is not Standing.FULL:
        raise StateDbError(f"nothing to copy from {giver.shown}: {standing.value}")


def _require_target(taker: LedgerEnd, giver: LedgerEnd) -> bool:
    """Refuse one that something would be lost in; whether there is anything that can be read."""
    standing = taker.standing()
    if standing is Standing.FULL or (standing is Standing.EMPTY and _has_own_values(taker, giver)):
        what = "knows jobs already" if standing is Standing.FULL else "has values that were set there"
        raise StateDbError(
            f"{taker.shown} {what}, and was left untouched: give the name of a new file, or of another schema "
            "(?schema=name), or remove what is there"
        )
    return standing is not Standing.MISSING


def _has_own_values(taker: LedgerEnd, giver: LedgerEnd) -> bool:
    """Whether something was set there that is more than a copy of what comes."""
    with taker.reading() as there, giver.reading() as here:
        some = next(there.rows(OWN_VALUES), None) is not None
        return some and taker.shared_with() != here.heading().entries["id"]


def _require_quiet(layout: Layout) -> None:
    workers = living(layout.workers)
    if workers:
        raise StateDbError(
            f"{len(workers)} worker{' is' if len(workers) == 1 else 's are'} at work on {layout.base}: wait for the end of "
            "their runs, or end them"
        )


def _require_idle(ends: Sequence[LedgerEnd]) -> None:
    for end in ends:
        with end.reading() as reading:
            if reading.is_at_work():
                raise StateDbError(
                    f"a run is at work with {end.shown}: wait for its end, or end it; what one that died has left is free "
                    "when its lease ends"
                )


class _Copying:
    """One copy, from what is there to what is empty."""

    def __init__(
        self,
        giver: LedgerEnd,
        taker: LedgerEnd,
        report: CopyReport,
        progress: Progress | None,
    ) -> None:
        self._giver, self._taker = giver, taker
        self._report = report
        self._progress = progress

    def run(self) -> None:
        """Do it, as far as the report says, and write down what was done."""
        writes = not self._report.dry_run
        with self._giver.reading() as reading:
            heading, pulse = reading.heading(), reading.pulse()
            if writes:
                self._taker.begin(heading, self._giver.shown)
            sent = {section: self._send(reading, section) for section in SECTIONS}
        if writes:
            self._prove(sent)
        with self._giver.reading() as reading:
            if reading.pulse() != pulse or reading.is_at_work():
                raise StateDbError(
                    f"somebody has worked with {self._giver.shown} while it was copied: end that, and copy it again"
                )
        if writes:
            self._taker.finish(heading)
        self._report.rows = {section.table: tally.rows for section, tally in sent.items()}
        self._report.digests = {section.table: tally.digest for section, tally in sent.items()}

    def _tell(self, what: str, done: int) -> None:
        if self._progress is not None:
            self._progress(what, done, None)

    def _send(self, reading: Reading, section: Section) -> Tally:
        tally = Tally()
        for chunk in in_chunks(self._fitting(reading, section), BATCH):
            for row in chunk:
                tally.add(row)
            if not self._report.dry_run:
                self._taker.write(section, chunk)
            self._tell(f"copying {section.table}", tally.rows)
        return tally

    def _fitting(self, reading: Reading, section: Section) -> Iterator[Row]:
        """The rows that the target can keep."""
        for row in reading.rows(section):
            fitted = self._taker.fit(section, row)
            if fitted is not None:
                yield fitted
            # Of what was set of a file, some may fit.
            if section in (LEDGER, OWN_VALUES) and (fitted is None or (section is OWN_VALUES and fitted is not row)):
                self._report.left_out += 1
                if len(self._report.such_as) < _NAMED:
                    self._report.such_as.append(str(row[section.columns.index("file")]))
            if section is JOBS:
                self._report.jobs = sorted([*self._report.jobs, str(row[0])])

    def _prove(self, sent: dict[Section, Tally]) -> None:
        with self._taker.reading() as reading:
            for section, tally in sent.items():
                found = Tally()
                for row in reading.rows(section):
                    found.add(row)
                    if found.rows % BATCH == 0:
                        self._tell(f"comparing {section.table}", found.rows)
                if found != tally:
                    raise StateDbError(
                        f"{self._taker.shown} holds something else than was sent ({section.table}: {found.rows:,} rows, "
                        f"{tally.rows:,} were sent): somebody else writes there, or its disk is bad. Copy it again"
                    )
