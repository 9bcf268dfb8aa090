"""What a run of a job would do, and what a changed definition would change: what ``mmmeta jobs plan`` says."""

from __future__ import annotations

import json
from dataclasses import dataclass

from mmmeta.catalog.catalog import Catalog
from mmmeta.errors import JobError
from mmmeta.filters import describe
from mmmeta.jobs.actions.make import make_action
from mmmeta.jobs.bench import Bench
from mmmeta.jobs.versions import never_again, without_content
from mmmeta.state.candidates import SIZE_KEYS, Mismatch, lacking_keys, mismatches


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        files: files that a run would take now.
        bytes: their size, as far as the metadata tells; None where it tells of none.
        newly_selected: of these, files that were not pending before.
        left: pending files that would be set aside: deleted, or not meant by the definition any more.
        left_done: files that are done, and stay so, and that a changed selection does not mean any more.
        retract: files that were done, are deleted now, and would be handed to the action to be undone.
        same: files that would be set aside, for another one of the same document is done instead (``once_per``).
        changed: whether the selection is another one than at the last run.
        redefined: whether something else of the definition is: the action, its target, a rule.
        lacking: key of the selection → files that cannot match because they have no such key.
        never_again: why no change makes a done file due again, in a sentence; None where one does.
        without_content: files that the job means and that have no content key: any change of their metadata makes them
            due again.
        mismatched: what the selection cannot be compared with, such as ``05.04.2024`` with a date.
        condition_words: the selection in words.
        outdated: whether metadata waits for an update; a plan knows only what is merged.
        elsewhere: what is done elsewhere than where the job points now, in a sentence; None where nothing is.
        problem: why the action cannot work, such as a function that cannot be imported; None where nothing is known.
    """

    files: int
    bytes: int | None
    newly_selected: int
    left: int
    left_done: int
    retract: int
    same: int
    changed: bool
    redefined: bool
    lacking: dict[str, int]
    never_again: str | None
    without_content: int
    mismatched: tuple[Mismatch, ...]
    condition_words: str
    outdated: bool
    elsewhere: str | None
    problem: str | None


def make_plan(bench: Bench, catalog: Catalog, state_revision: int) -> Plan:
    """Look what would happen; nothing is written."""
    config = bench.config
    with bench.rehearsing() as ledger:
        known = ledger.known()
        evaluation = bench.evaluate(ledger, catalog, state_revision, index=False)
        due = ledger.due()
    # With the selection that was known, the fingerprint differs only by what else has changed.
    redefined = (
        known is not None
        and not bench.is_recorded
        and config.fingerprint(json.loads(known.rules.selection)) != known.rules.fingerprint
    )
    return Plan(
        files=len(due),
        bytes=catalog.total(SIZE_KEYS, due),
        newly_selected=evaluation.selected,
        left=evaluation.left,
        left_done=evaluation.left_done,
        retract=evaluation.retract,
        same=evaluation.same,
        changed=evaluation.changed,
        redefined=redefined,
        lacking=lacking_keys(catalog, config.condition),
        never_again=never_again(bench.rules, catalog.unique),
        without_content=without_content(bench.rules, catalog),
        mismatched=mismatches(catalog, config.condition),
        condition_words=describe(config.condition),
        outdated=bench.state.has_news(),
        elsewhere=bench.elsewhere(),
        problem=_problem(bench),
    )


def _problem(bench: Bench) -> str | None:
    """Why the action cannot work; a job that gets its function when it runs has none yet."""
    if bench.config.action is None:
        return None
    state = bench.state
    try:
        make_action(bench.config, state.action_config(), state.layout, bench.state_id).close()
    except JobError as error:
        return str(error)
    return None
