"""What the sensor decides, as a pure function: from a situation, its cursor and the time to "ask" or "skip, because".

Nothing here reads a file, a database or Dagster; ``observe`` gathers the situation. The rules:

- There is a reason to ask when the remote moved or when work is due: a retry, a rest left by a limit, an ended lease,
  a job that is new or changed, files that something else merged or saved and that no selection was evaluated over yet.
  Without one, the tick is a skip.
- A metadir that is not whole yet (a sync is under way) is waited for; that is no attempt. Where only the announced
  metadata is missing, work that is due goes on meanwhile.
- While a run is alive, nothing else is asked for. Alive means that Dagster calls it unfinished *and* that a step of it holds
  its lock, or that it gave a sign of life lately where no lock tells: a killed run stays "started" in Dagster for ever.
- What the remote has published and is not here yet is a reason to ask for a run that pulls, where runs can (``pulls``);
  elsewhere it is said, and changes nothing: it cannot be merged.
- A run that a person terminated is not followed for a while.
- A run that left the situation as it was, because it failed, was killed or achieved nothing, is followed by another
  after a pause that doubles each time, and by none once ``attempts`` are used up, until the situation changes. That there is
  no reason for the moment is no change: files that are in somebody's hands may come back, and so may a store that cannot be
  read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mmmeta_dagster.keys import import_job
from mmmeta_dagster.keys import pool as pool_of
from mmmeta_dagster.runs import Phase, RunView
from mmmeta_dagster.sensor import pulls
from mmmeta_dagster.sensor.due import due_jobs, standing
from mmmeta_dagster.sensor.pauses import LONGEST_PAUSE, LONGEST_PAUSE_WHILE_CHANGING, pause
from mmmeta_dagster.sensor.situation import Cursor, Situation
from mmmeta_dagster.shown.wording import clock_text, published_text

AFTER_TERMINATION = timedelta(minutes=10)
"""How long a run that a person terminated is not followed by another: time to switch the sensor off, or to mend things."""

LONG_QUEUED = timedelta(minutes=10)
"""How long a run may be queued until the reason says what may hold it up. Nothing but Dagster can start or end it."""


@dataclass(frozen=True)
class Decision:
    """The answer.

    Attributes:
        reason: why, in words; for an ask and for a skip.
        cursor: what to remember.
        run_key: the key of the run to ask for; None for a skip.
        attempt: which attempt in this situation it is, counted from 1; 0 for a skip.
        lost: runs that Dagster calls unfinished and that are taken for killed.
        gave_up: True exactly once per situation, on the tick that gives it up.
        jobs: the jobs that the run is for, behind the update; None for all that the import runs.
        pulls: whether the run is to pull first what the remote has published.
    """

    reason: str
    cursor: Cursor
    run_key: str | None = None
    attempt: int = 0
    lost: tuple[RunView, ...] = ()
    gave_up: bool = False
    jobs: tuple[str, ...] | None = None
    pulls: bool = False


def decide(situation: Situation, cursor: Cursor, now: datetime) -> Decision:
    """Ask for a run of ``<metadir>_import``, or skip, with the reason. ``now`` is aware UTC."""
    decision = _decide(situation, pulls.remembered(situation, cursor), now)
    if situation.misplaced is not None and situation.misplaced not in decision.reason:
        decision = replace(decision, reason=f"{decision.reason} Beside it {situation.misplaced}.")
    if situation.never_pulled is not None and decision.run_key is None:
        decision = replace(decision, reason=f"{decision.reason} {situation.never_pulled}")
    if situation.remote_problem is not None:
        trouble = f"The store at the remote cannot be read: {situation.remote_problem}."
        return replace(decision, reason=f"{decision.reason} {trouble}")
    told = pulls.older(situation)
    if told is None and not situation.pulls and (news := pulls.behind(situation)) is not None:
        told = f"{pulls.capital(news)}: waiting for the sync."
    return decision if told is None else _beside(decision, told)


def _beside(decision: Decision, told: str) -> Decision:
    """A decision with what is to be said of the remote as well: first, unless a run is asked for."""
    if decision.run_key is not None:
        return replace(decision, reason=f"{decision.reason} {told}")
    reason = decision.reason.replace("Nothing to do", "Until then nothing to do", 1)
    return replace(decision, reason=f"{told} {reason}")


def _decide(situation: Situation, cursor: Cursor, now: datetime) -> Decision:
    news = pulls.wanted(situation, cursor)
    if news is None:
        if situation.remote is not None and cursor.pull is not None and not cursor.pull.done:
            cursor = replace(cursor, pull=None)  # it has brought what it was for
        decision = _of_what_is_here(situation, cursor, now)
        told = pulls.not_seen(situation, cursor) if situation.pulls else None
        return decision if told is None else _beside(decision, told)
    held = _held_up(situation, now)
    if held is not None:
        return Decision(f"{held} To do: {'; '.join((news, *reasons(situation, now)))}.", cursor)
    again = pulls.next_at(situation, cursor)
    if again is None or again <= now:
        return _ask_to_pull(situation, cursor, now, "; ".join((news, *reasons(situation, now))))
    assert cursor.pull is not None
    run = pulls.run_of(situation, cursor.pull)
    failed = None if run is None or run.pull_failed is None else f"run {run.name}: {run.pull_failed.rstrip('.')}"
    tried = f"Attempt {cursor.pull.attempt} to pull that: {failed or _outcome(run)}"
    told = f"{pulls.capital(news)}. {tried}. Pulls again at {clock_text(again)}."
    return _beside(_of_what_is_here(situation, cursor, now), told)


def _of_what_is_here(situation: Situation, cursor: Cursor, now: datetime) -> Decision:
    """The decision where nothing is pulled: over what lies here."""
    why = "; ".join(reasons(situation, now))
    if not why:
        waiting = _waits_for_what_was(situation, cursor)
        achieved = waiting is None and _is_achieved(situation, cursor, now)
        return Decision(waiting or _nothing_to_do(situation, now), cursor.rested() if achieved else cursor)
    wait = _wait(situation, now)
    if wait is not None:
        return Decision(f"{wait} To do: {why}.", cursor)
    if cursor.situation != situation.mark or cursor.asked_at is None:
        return _ask(situation, cursor, now, why, 1)
    latest = situation.runs[0] if situation.runs else None
    if latest is not None and latest.not_whole is not None:
        # Whatever it met was no attempt, because no attempt could have helped.
        return _ask(situation, cursor, now, why, cursor.attempt)
    outcome = _outcome(next((run for run in situation.runs if run.run_key == cursor.run_key), None))
    if cursor.attempt >= situation.attempts:
        return Decision(
            f"Gave up after {cursor.attempt} attempts: {outcome}. To do: {why}. Asks again as soon as the situation "
            "changes: new metadata, a changed job, a run by hand that gets on, or this code loaded anew.",
            replace(cursor, gave_up=True),
            gave_up=not cursor.gave_up,
        )
    since = max(cursor.asked_at, latest.last_sign) if latest is not None else cursor.asked_at
    again = since + pause(situation.interval, cursor.attempt)
    if now < again:
        return Decision(
            f"Attempt {cursor.attempt} of {situation.attempts}: {outcome}. Asks again at {clock_text(again)}. To do: {why}.",
            cursor,
        )
    return _ask(situation, cursor, now, why, cursor.attempt + 1)


def _waits_for_what_was(situation: Situation, cursor: Cursor) -> str | None:
    """That a metadir that was here before is gone or not whole, a sentence; None where it is whole or never was here."""
    if situation.not_whole is None or not pulls.was_here(situation, cursor):
        return None
    return f"Waiting: {_not_whole(situation)}."


def _not_whole(situation: Situation) -> str:
    assert situation.not_whole is not None
    if not situation.is_gone:
        return situation.not_whole
    remedy = f"run {import_job(situation.metadir)}, which pulls it anew" if situation.pulls else "sync it again"
    return f"the metadir at {situation.path} is gone; it was there before: mount its disk, or {remedy}"


def _is_achieved(situation: Situation, cursor: Cursor, now: datetime) -> bool:
    """Whether what was asked for is done where nothing is left to ask for, and not merely out of sight.

    Files in a worker's hands may come back, and so may a publication that cannot be seen; in the situation that was asked
    for none was to be seen anyway, where it is the same.
    """
    held = situation.merged is not None and any(
        seen.claimed for name, seen in situation.merged.jobs.items() if name in situation.jobs
    )
    if held or any(run.is_alive(now) for run in situation.runs):
        return False
    in_sight = situation.published is not None and situation.on_its_way is None
    return in_sight or cursor.situation == situation.mark


def _wait(situation: Situation, now: datetime) -> str | None:
    """Why nothing can be asked for now, whatever was asked for before; a sentence, or None."""
    if situation.not_whole is not None:
        return f"Waiting: {_not_whole(situation)}."
    held = _held_up(situation, now)
    latest = situation.runs[0] if situation.runs else None
    if held is not None or latest is None or latest.not_whole is None:
        return held
    changed = latest.seen != situation.seen
    again = latest.last_sign + _pause_of_not_whole(situation, changed)
    if now >= again:
        return None
    what = "Waiting" if changed else "Waiting for the metadir to change"
    return f"{what}, looking again at {clock_text(again)}: {latest.not_whole.rstrip('.')}."


def _held_up(situation: Situation, now: datetime) -> str | None:
    """That a run lives, or that a person has terminated one just now, a sentence; None where neither is so."""
    alive = next((run for run in situation.runs if run.is_alive(now)), None)
    if alive is not None:
        return f"Run {alive.name} is {alive.phase.value}.{_why_queued(alive, situation, now)}"
    latest = situation.runs[0] if situation.runs else None
    if latest is None:
        return None
    if latest.phase is Phase.CANCELED and not _ended_with_the_code(latest, situation):
        again = latest.last_sign + AFTER_TERMINATION
        if now < again:
            return f"Run {latest.name} was terminated. Asks again at {clock_text(again)}, unless this is switched off."
    return None


def _why_queued(run: RunView, situation: Situation, now: datetime) -> str:
    """What may hold up a run that Dagster does not start, as a further sentence; empty for any other."""
    if run.phase is not Phase.QUEUED or now - run.created <= LONG_QUEUED:
        return ""
    pool = pool_of(situation.metadir)
    return (
        f" It waits since {clock_text(run.created)}: for other runs, for the daemon, or for a slot that a killed run still "
        f"holds. `dagster instance concurrency get {pool}` shows the pool; run_monitoring with "
        "free_slots_after_run_end_seconds in dagster.yaml frees it."
    )


def _ended_with_the_code(run: RunView, situation: Situation) -> bool:
    """Whether what terminated a run was the end of the server, which has begun anew since."""
    return situation.loaded is not None and run.last_sign < situation.loaded


def _ask_to_pull(situation: Situation, cursor: Cursor, now: datetime, why: str) -> Decision:
    """Ask for a run of everything, the pull first. How often was asked over what lies here stays as it is."""
    asked = _ask(situation, cursor, now, why, 0)
    assert asked.run_key is not None
    pull = pulls.asked_anew(situation, cursor, now, asked.run_key)
    remembered = replace(cursor, pull=pull, asks=asked.cursor.asks)
    return replace(asked, cursor=remembered, attempt=pull.attempt, jobs=None, pulls=True)


def _ask(situation: Situation, cursor: Cursor, now: datetime, why: str, attempt: int) -> Decision:
    lost = tuple(run for run in situation.runs if not run.phase.ended)
    if lost:
        why += "".join(f"; {_lost(run)}" for run in lost)
    asks = cursor.asks + 1
    # Dagster uses a run key once for ever. Who resets the cursor erases the count, and nobody the time.
    key = f"{situation.mark}-{attempt}-{asks}-{now:%Y%m%dT%H%M%S%fZ}"
    asked = Cursor(
        situation.mark, attempt, now, key, asks, reported=cursor.reported, told=cursor.told, pull=cursor.pull
    )
    return Decision(f"{pulls.capital(why)}.", asked, key, attempt, lost, jobs=_wanted_jobs(situation, now))


def reasons(situation: Situation, now: datetime) -> Iterator[str]:
    """Why a run is wanted, each in words; nothing where none is."""
    published, merged = situation.published, situation.merged
    if merged is None:
        if published is not None:
            merger = next((run for run in situation.runs if run.phase is Phase.SUCCEEDED), None)
            nothing = (
                "nothing was merged yet"
                if merger is None
                else f"and what was merged is gone, which run {merger.name} and others have done: did a sync delete local/? "
                "Exclude it, and put the state db back from a backup if there is one"
            )
            yield f"the remote has metadata of {published_text(published)}, {nothing}"
        return
    if situation.state_problem is not None and published is not None:
        yield situation.state_problem
    if published is not None and published != merged.remote_last_updated and situation.on_its_way is None:
        last = merged.remote_last_updated
        before = f"{published_text(last)} was merged last" if last else "nothing was merged yet"
        yield f"the remote has metadata of {published_text(published)}, {before}"
    elif situation.came_after_its_store:
        yield f"meta.db is another file now, and the store announces revision {situation.announced}"
    for name, why in due_jobs(situation, now):
        yield f"{name}: {why}"


def _wanted_jobs(situation: Situation, now: datetime) -> tuple[str, ...] | None:
    """The jobs to be run where they alone are the reason; None where all are, or something else is a reason, too."""
    due = tuple(name for name, _ in due_jobs(situation, now))
    alone = len(due) == sum(1 for _ in reasons(situation, now))
    return due if alone and len(due) < len(situation.jobs) else None


def _pause_of_not_whole(situation: Situation, changed: bool) -> timedelta:
    if not changed:
        return LONGEST_PAUSE
    in_a_row = next((n for n, run in enumerate(situation.runs) if run.not_whole is None), len(situation.runs))
    # The first change after the first such run is acted on at once: most likely the sync is through.
    return pause(situation.interval, in_a_row - 1, LONGEST_PAUSE_WHILE_CHANGING) if in_a_row > 1 else timedelta()


def _outcome(run: RunView | None) -> str:
    """What became of the run that was asked for last, which left the situation as it was."""
    if run is None:
        return "the run that was asked for never began"
    if run.phase is Phase.SUCCEEDED:
        return f"run {run.name} succeeded and left everything as it was"
    if run.phase.ended:
        return f"run {run.name} {'failed' if run.phase is Phase.FAILED else 'was canceled'}"
    return _lost(run)


def _lost(run: RunView) -> str:
    """That a run is taken for killed, and by what."""
    if run.at_work is False:
        return f"the process of run {run.name} is gone, so it counts as killed"
    return f"run {run.name} gave no sign of life since {clock_text(run.last_sign)} and counts as killed"


def _nothing_to_do(situation: Situation, now: datetime) -> str:
    merged = situation.merged
    if situation.on_its_way is not None:
        return f"Waiting: {situation.on_its_way}."
    if situation.store_problem is not None:
        parts = [f"the store cannot be read: {situation.store_problem}"]
    elif situation.published is None and merged is None:
        where = f" at {situation.path}" if situation.path else ""
        if situation.not_whole is not None:
            return f"No metadata yet: {situation.not_whole}."
        return f"No metadata yet{where}: the store has no remote_last_updated. Sync the metadir, or generate it."
    elif situation.published is None:
        parts = ["the store has no remote_last_updated any more"]
    else:
        parts = []
    if merged is not None and merged.revision is not None:
        parts.append(f"revision {merged.revision} is merged")
    for name in situation.jobs:
        seen = merged.jobs.get(name) if merged is not None else None
        if seen is not None:
            parts.append(f"{name}: {standing(seen, now)}")
    return f"Nothing to do: {'; '.join(parts) or 'all is merged'}."
