"""Why a file is, or is not, done by a job: what ``mmmeta why FILE JOB`` says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mmmeta.catalog.catalog import Catalog
from mmmeta.errors import JobError, near_misses
from mmmeta.filters import All, Condition, describe, kinds_in_words, kinds_taken, walk
from mmmeta.jobs.bench import Bench
from mmmeta.jobs.versions import again_when
from mmmeta.sqlite.statements import encodable
from mmmeta.state.ledger.rules import POSTPONED, REASONS, SAME
from mmmeta.state.ledger.view import Attempt, LedgerEntry
from mmmeta.values import json_text


@dataclass(frozen=True)
class Unmet:
    """A part of the selection that a file does not meet: in words, and a sentence on what the file has instead."""

    condition: str
    actual: str


@dataclass(frozen=True)
class Explanation:
    """What a job makes of a file.

    Attributes:
        selected: whether the selection means the file as it is now.
        unmet: the parts of the selection that do not hold; empty where it is selected.
        entry: the ledger's row; None where the file never was selected.
        attempts: the latest first.
        again: what makes the file due again once it is done, in words that follow "when".
        unfit: why the ledger cannot keep the file, so that no run does it; None where it can.
    """

    file: str
    job: str
    deleted: bool
    selected: bool
    unmet: tuple[Unmet, ...]
    entry: LedgerEntry | None
    attempts: tuple[Attempt, ...]
    most_attempts: int
    again: str
    unfit: str | None = None

    @property
    def lines(self) -> list[str]:
        """The same in sentences."""
        lines = [self._verdict]
        if self.deleted:
            lines.append("The file is marked deleted at the remote.")
        elif self.selected:
            lines.append("The selection means it.")
        lines += [
            f"Not selected, because this does not hold: {unmet.condition}. {unmet.actual}." for unmet in self.unmet
        ]
        lines += [_attempt(attempt) for attempt in self.attempts]
        return lines

    @property
    def _verdict(self) -> str:
        known = self.entry
        name = f"{self.file}: "
        if known is None and self.selected and self.unfit is not None:
            return (
                f"{name}left out, no run does it: the ledger cannot keep its unique value: {self.unfit}. Let something shorter and "
                "plainer identify files (config.yml's metadata.unique), or keep the state in SQLite."
            )
        if known is None:
            return name + ("pending: the next run selects it." if self.selected else "never selected.")
        if known.status == "pending":
            undo = ", to be undone because the file was deleted" if known.retract else ""
            return f"{name}pending since {_time(known.selected_at)}{undo}."
        if known.status == "claimed":
            return f"{name}in the hands of a worker since {_time(known.claimed_at)}{_run(known.run_id)}."
        if known.status == "done":
            return f"{name}done {_time(known.settled_at)}{_run(known.run_id)}; again when {self.again}."
        why = f"{known.error_type}: {known.error_message}"
        if known.status == "failed" and known.error_type == POSTPONED:
            return f"{name}{known.error_message}, until {_time(known.due)}; no attempt is used up by that."
        if known.status == "failed":
            return f"{name}failed {known.attempts} of {self.most_attempts} times, tried again after {_time(known.due)}. Last: {why}"
        if known.status == "dead":
            return f"{name}dead after {known.attempts} attempt{'' if known.attempts == 1 else 's'}, waits for `jobs retry`. Last: {why}"
        return f"{name}set aside {_time(known.settled_at)}: {_reason(known, why)}."


def _reason(known: LedgerEntry, why: str) -> str:
    """Why a file was set aside; which other one is done instead, only its row says."""
    return known.error_message or why if known.error_type == SAME else REASONS.get(known.error_type or "", why)


def explain(bench: Bench, file: str) -> Explanation:
    """What the job makes of a file.

    Raises:
        JobError: there is no such file.
    """
    catalog = bench.state.catalog()
    row = catalog.by_unique([file]).get(file)
    if row is None:
        raise unknown_file(bench, file)
    values = bench.file(row, catalog)
    deleted = bool(row.system["__deleted"])
    unmet = []
    for part in _parts(bench.rules.condition):
        if not catalog.among([file], part, deleted=None):
            # Of comparisons with one key, what its value is not counts where none could be true of it.
            unfit: dict[str, set[str]] = {}
            for comparison in walk(part):
                odd = catalog.is_mismatched(file, comparison)
                unfit.setdefault(comparison.key, set()).add(kinds_in_words(kinds_taken(comparison)) if odd else "")
            actual = ", ".join(_has(key, values, unfit[key]) for key in sorted(unfit))
            unmet.append(Unmet(describe(part), f"The file has {actual}"))
    with bench.looking() as view:
        known = view.entry(bench.config.name, file)
        attempts = tuple(view.history(job=bench.config.name, file=file, limit=10))
    return Explanation(
        file=file,
        job=bench.config.name,
        deleted=deleted,
        selected=not unmet and not deleted,
        unmet=tuple(unmet),
        entry=known,
        attempts=attempts,
        most_attempts=bench.config.attempts,
        again=again_when(bench.config, bench.rules, catalog.unique, values),
        unfit=bench.state.ledger.why_unfit(file),
    )


def unknown_names(catalog: Catalog, names: Sequence[str]) -> list[str]:
    """Those of these names that no file has, deleted ones included."""
    known = catalog.known_names(names)
    return [name for name in names if name not in known]


def unknown_file(bench: Bench, file: str) -> JobError:
    """The error for a name that no file has, with near misses, or those that begin with it."""
    catalog = bench.state.catalog()
    names = catalog.names_from(file[:2], 20) if encodable([file]) else []
    longer = [name for name in names if file and name.startswith(file)][:3]
    hint = f" Did you mean {' or '.join(map(repr, longer))}?" if longer else near_misses(file, names)
    return JobError(f"there is no file {file!r}: give its {catalog.unique}.{hint}")


def _has(key: str, values: Mapping[str, Any], unfit: set[str]) -> str:
    if key not in values:
        return f"no {key}"
    kinds = "" if "" in unfit else f", which {' and '.join(sorted(unfit))}"
    return f"{key}: {json_text(values[key])}{kinds}"


def _parts(condition: Condition) -> tuple[Condition, ...]:
    return condition.parts if isinstance(condition, All) else (condition,)


def _attempt(attempt: Attempt) -> str:
    problem = f": {attempt.error_type}: {attempt.error_message}" if attempt.error_type else ""
    return f"{_time(attempt.ended_at)} {attempt.status}{_run(attempt.run_id)}{problem}"


def _run(run_id: str | None) -> str:
    return "" if run_id is None else f" by run {run_id[:8]}"


def _time(moment: datetime | None) -> str:
    # Local time, as everywhere on the command line.
    return "some time ago" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"
