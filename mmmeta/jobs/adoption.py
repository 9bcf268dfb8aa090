"""Taking for done what somebody did before the job was there, so that a switch to mmmeta does not do everything again.

Which files these are is told by their names, by a filter over what the client set (``imported=true`` of a script that
the job replaces), by the job's own target, or by a column or query of any SQL database (``target.elsewhere``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from mmmeta.catalog.catalog import Catalog
from mmmeta.chunks import in_chunks
from mmmeta.errors import JobError, MmmetaError
from mmmeta.jobs.actions.action import Done
from mmmeta.jobs.actions.make import make_action
from mmmeta.jobs.bench import Bench
from mmmeta.state.ledger.outcomes import Place
from mmmeta.state.ledger.store import Ledger

NAMED = 20
"""Unknown names that an adoption keeps; all are counted."""

AT_ONCE = 500
"""Files that are looked for at once."""

SAMPLE = 20
"""Files that are looked for to tell whether a job has been done before."""


@dataclass(frozen=True)
class Adoption:
    """What adopting did.

    Attributes:
        named: files that were named, or found; of these
        adopted: taken for done,
        already_done: which the job had done before,
        claimed: in a worker's hands, left alone,
        not_selected: the job never selected, or has set aside,
        unknown: names of no file; the first 20 in ``unknown_names``.
    """

    named: int
    adopted: int
    already_done: int
    claimed: int
    not_selected: int
    unknown: int
    unknown_names: tuple[str, ...]


def adopt(ledger: Ledger, catalog: Catalog, files: Mapping[str, Place | None]) -> Adoption:
    """Take files for done, in the ledger's transaction, and say what became of each name.

    Args:
        files: name → where the result is, as far as that is known.
    """
    adopted = ledger.adopt(files)
    here = catalog.known_names(adopted.strangers)
    unknown = [name for name in adopted.strangers if name not in here]
    done, claimed = adopted.statuses.get("done", 0), adopted.statuses.get("claimed", 0)
    return Adoption(
        named=adopted.named,
        adopted=adopted.adopted,
        already_done=done - adopted.adopted,
        claimed=claimed,
        not_selected=adopted.named - len(unknown) - done - claimed,
        unknown=len(unknown),
        unknown_names=tuple(unknown[:NAMED]),
    )


def present(bench: Bench, names: list[str]) -> Iterator[tuple[str, Place | None]]:
    """Those of these files that are where the job puts them, in their present version, and where that is.

    Raises:
        JobError: the job calls a function or a command; nobody knows where to look.
    """
    state = bench.state
    action = make_action(bench.config, state.action_config(), state.layout, bench.state_id)
    try:
        for chunk in in_chunks(names, AT_ONCE):
            files = bench.files(chunk).values()
            missing = action.missing([Done(file, None) for file in files])
            if missing is None:
                raise JobError(
                    f"job {bench.config.name!r}: nobody knows where its results are; name files, a filter or a query"
                )
            yield from ((file.unique_value, action.place(file)) for file in files if file.unique_value not in missing)
    finally:
        action.close()


def done_before(bench: Bench) -> str | None:
    """That results of a job are there already although its ledger is new, in a sentence that says what to do; None where
    nothing of that is seen: nobody knows where functions and commands leave theirs."""
    sample = bench.due(SAMPLE)
    found = 0
    with suppress(MmmetaError, OSError):  # what is wrong with the place, a run says
        found = sum(1 for _ in present(bench, sample))
    if not found:
        return None
    if bench.state.layout.ledger is None:
        what, back = "the state db", "put it back from a backup"
        lost = "the state db was lost, as by a sync that deletes what the remote does not have (exclude local/)"
    else:
        what, back = "the ledger in PostgreSQL", "mend `state:`, or put it back from a backup"
        lost = "another one was meant, or it was lost"
    return (
        f"{what} is new, and of the first {len(sample)} files of job {bench.config.name} {found} are there already. If {lost}, "
        f"{back}, or take what is there for done with `mmmeta jobs adopt {bench.config.name} --present`"
    )


def places_of(bench: Bench, names: Sequence[str]) -> dict[str, Place | None]:
    """Where a job that downloads would have put each of these files; of others nobody need know."""
    if bench.config.download is None:
        return dict.fromkeys(names)
    state = bench.state
    action = make_action(bench.config, state.action_config(), state.layout, bench.state_id)
    places: dict[str, Place | None] = dict.fromkeys(names)
    try:
        for chunk in in_chunks(names, AT_ONCE):
            for name, file in bench.files(chunk).items():
                with suppress(MmmetaError):  # without a name it has no place
                    places[name] = action.place(file)
    finally:
        action.close()
    return places
