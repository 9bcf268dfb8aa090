"""Looks for what a job did: whether the files that the ledger calls done are where the job's action puts them.

All of them for ``mmmeta check``, a sample for a check that runs every few minutes. Nothing is changed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from mmmeta.chunks import in_chunks
from mmmeta.errors import MmmetaError
from mmmeta.jobs.actions.action import Done
from mmmeta.jobs.actions.make import make_action
from mmmeta.jobs.bench import Bench
from mmmeta.reports import FirstFew, Progress
from mmmeta.state.candidates import Candidates
from mmmeta.state.ledger.view import LedgerView

AT_ONCE = 500
"""Files that are looked for in a target at once."""

NAMED = 50
"""Missing files named in a result; all are counted."""

FEW = 10_000
"""Done files up to which a sample is drawn out of all their names; among more, it is drawn by probing."""


@dataclass(frozen=True)
class Results:
    """What was found of what a job did.

    Attributes:
        done: how many files the ledger calls done.
        looked: how many of them were looked for; deleted ones, versions that later ones have replaced, and what a sample
            leaves out, were not.
        missing: how many of these are not there, in the version that the state db has.
        named: unique value → what is there instead, of the first ones.
        problem: why looking came to an end before its time, in words; None where it did not.
        known: whether anybody knows where to look; not so for functions and commands.
        elsewhere: what is done elsewhere than where the job points now, in a sentence; None where nothing is.
    """

    done: int = 0
    looked: int = 0
    missing: int = 0
    named: dict[str, str] = field(default_factory=dict)
    problem: str | None = None
    elsewhere: str | None = None
    known: bool = True


def look_for_results(
    bench: Bench, *, sample: int | None = None, keep: int = NAMED, progress: Progress | None = None
) -> Results:
    """Look for the results of one job. A target that cannot be read is the ``problem`` of the result, not an error.

    Args:
        sample: so many files, drawn anew each time; all unless given.
        keep: how many missing files are named.
        progress: called with the job's name, how many were looked for, and None for of how many.

    Raises:
        StateDbError: the state db cannot be read.
    """
    found = _look(bench, sample, keep, progress)
    return replace(found, elsewhere=bench.elsewhere())


def _look(bench: Bench, sample: int | None, keep: int, progress: Progress | None) -> Results:
    names, done = _done(bench, sample)
    looked = 0
    missing = FirstFew[tuple[str, str]](keep)
    state = bench.state
    try:
        action = make_action(bench.config, state.action_config(), state.layout, bench.state_id)
    except MmmetaError as error:
        return Results(done, problem=str(error))
    try:
        for files in _files(bench, names):
            try:
                found = action.missing(files)
            except (MmmetaError, OSError) as error:
                return Results(done, looked, missing.count, dict(missing.named), str(error))
            if found is None:
                return Results(done, known=False)
            looked += len(files)
            replaced = _replaced(bench, [entry for entry in files if entry.file.unique_value in found])
            for name, why in found.items():
                if name not in replaced:
                    missing.add((name, why))
            if progress is not None:
                progress(bench.config.name, looked, None)
    finally:
        action.close()
    return Results(done, looked, missing.count, dict(missing.named))


def _files(bench: Bench, names: list[str]) -> Iterator[list[Done]]:
    """The files in the version that the state db has, and where they were put; a first, empty list where there are none:
    it may be asked all the same whether anybody knows where to look."""
    if not names:
        yield []
    for chunk in in_chunks(names, AT_ONCE):
        with bench.looking() as view:
            places = view.places(bench.config.name, chunk)
            replaced = view.replaced(bench.config.name, chunk)
        files = bench.files([name for name in chunk if name not in replaced])
        yield [Done(file, places.get(name)) for name, file in files.items() if not file.deleted]


def _replaced(bench: Bench, done: Sequence[Done]) -> set[str]:
    """Those of these files whose result need not be there any more: the state db has a version that the job was not told of
    yet."""
    if not done or bench.state.is_worker:
        return set()
    job, names = bench.config.name, [entry.file.unique_value for entry in done]
    with bench.looking() as view:
        rules, versions = view.rules(job), view.done_versions(job, names)
    candidates = Candidates(bench.state.database, bench.state.catalog(warn=False), rules or bench.rules)
    replaced = {
        entry.file for entry in candidates.named(names) if entry.wanted != versions.get(entry.file, entry.wanted)
    }
    return replaced


def _done(bench: Bench, sample: int | None) -> tuple[list[str], int]:
    """The names of the files to look for, and how many are done. Names only: of a million files that is what memory has
    room for."""
    job = bench.config.name
    with bench.looking() as view:
        done = view.count(job, "done")
        if sample is not None and done > FEW and sample < done:
            return _probe(bench, view, sample), done
        names = view.names(job, ["done"])
    return names if sample is None or sample >= len(names) else random.sample(names, sample), done


def _probe(bench: Bench, view: LedgerView, sample: int) -> list[str]:
    """Done files next to files picked at random: a few steps down an index each, instead of reading a million rows."""
    # The same file may come twice; a few less will do then.
    near = bench.state.catalog(warn=False).random_names(3 * sample)
    found: set[str] = set()
    for name in near:
        file = view.next_done(bench.config.name, name)
        if file is not None:
            found.add(file)
        if len(found) == sample:
            break
    return sorted(found)
