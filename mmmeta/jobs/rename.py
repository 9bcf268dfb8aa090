"""``mmmeta jobs rename``: a job goes on under another name, and nothing is done anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmmeta.errors import JobError, near_misses
from mmmeta.project.fields import check_name
from mmmeta.project.job import RESERVED_JOBS, JobConfig
from mmmeta.state.state import State
from mmmeta.target.identity import is_file, split_name, table_name


@dataclass(frozen=True)
class Renamed:
    """What a renaming did, or would do.

    Attributes:
        files: of which the ledger knows under the new name now.
        receipts: that follow it in the targets that could be reached.
        unreached: targets whose receipts still have the old name: for their databases nobody here has a password.
        finished: the ledger had the new name already, from a renaming that was broken off; only receipts were left.
    """

    old: str
    new: str
    files: int
    receipts: int
    unreached: tuple[str, ...] = ()
    finished: bool = False
    dry_run: bool = False


def rename_job(state: State, old: str, new: str, config: JobConfig | None, *, dry_run: bool = False) -> Renamed:
    """Let the ledger, its places, its history and the receipts of a job have another name.

    The receipts are copied first and removed last, so that the job finds its own whenever this is broken off.

    Args:
        config: the job as the project file has it, under either name: says into which database it loads.

    Raises:
        JobError: there is no such job, the new name is taken or no name, or a run is at work.
        LoadError: a target's receipts cannot be renamed; the ledger is as it was, or has the new name already.
        StateDbError: the state db cannot be written.
    """
    _check(old, new)
    state.require()
    with state.ledger.looking() as view:
        jobs = view.jobs()
        known = view.rules(old)
        places = [*view.targets(old), *view.targets(new)]
        broken_off = view.renaming() == (old, new)
    targets, unreached = _targets(config, places)
    if known is None:
        if not broken_off:
            was = f" {new!r} is there: was it renamed before?" if new in jobs else near_misses(old, jobs)
            raise JobError(f"the ledger knows no job {old!r}.{was}")
        receipts = _copied(targets, state.ledger.identity(), old, new, dry_run=dry_run)
        if not dry_run:
            state.write_status()
            _end(state, targets, old, new)
        return Renamed(old, new, 0, receipts, unreached, finished=True, dry_run=dry_run)
    with state.ledger.rehearsing(known) as ledger:
        files = ledger.rename(new)  # refuses before anything is written anywhere
    receipts = _copied(targets, state.ledger.identity(), old, new, dry_run=dry_run)
    if not dry_run:
        with state.ledger.changing(known) as ledger:
            files = ledger.rename(new)
        state.write_status()
        _end(state, targets, old, new)
    return Renamed(old, new, files, receipts, unreached, dry_run=dry_run)


def _check(old: str, new: str) -> None:
    try:
        check_name(new, "job")
    except ValueError as error:
        raise JobError(str(error)) from None
    if new in RESERVED_JOBS:
        raise JobError(f"{new!r} cannot name a job: it is a name of mmmeta's own")
    if new == old:
        raise JobError(f"the job is called {old!r} already")


def _targets(config: JobConfig | None, places: Sequence[str]) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    """URL and table of each target that can be reached, one a database and schema; the names of the others."""
    own = None if config is None or config.load is None else config.load
    found: dict[tuple[str, str], tuple[str, str]] = {}
    unreached = []
    if own is not None:
        found[table_name(own.to, ""), own.table.rpartition(".")[0]] = (own.to, own.table)
    for place in dict.fromkeys(places):
        known = split_name(place)
        if known is None:
            continue  # a folder: documents lie there without receipts
        url, table = known
        key = (table_name(url, ""), table.rpartition(".")[0])
        if own is not None and place == table_name(own.to, table):
            found.setdefault(key, (own.to, table))
        elif is_file(url):
            found.setdefault(key, (url, table))
        else:
            unreached.append(place)
    return list(found.values()), tuple(unreached)


def _copied(targets: Sequence[tuple[str, str]], state_id: str, old: str, new: str, *, dry_run: bool) -> int:
    from mmmeta.target.renaming import copy_receipts

    return sum(
        copy_receipts(url, table, state_id=state_id, old=old, new=new, dry_run=dry_run) for url, table in targets
    )


def _end(state: State, targets: Sequence[tuple[str, str]], old: str, new: str) -> None:
    """The ledger has the new name: remove what is left of the old one."""
    from mmmeta.target.renaming import drop_receipts

    for url, table in targets:
        drop_receipts(url, table, state_id=state.ledger.identity(), job=old)
    with state.ledger.looking() as view:
        rules = view.rules(new)
    if rules is not None:
        with state.ledger.changing(rules) as ledger:
            ledger.end_renaming()
