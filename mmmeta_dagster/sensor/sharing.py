"""How many runs shall share the work of an import, as a pure function: from a situation and the time. The rules:

- Nobody helps where nobody imports: while a run of ``<metadir>_import`` is at work, others may be asked for. So what keeps the
  import from being asked for (a metadir that is not whole, a pause after failures) holds for them as well.
- As many as the files justify that are due by status.json, two batches for each and the import itself; each has a number, of
  which there are as many as the largest ``shards``, and helps with the jobs that have so many.
- A job that hangs on others is shared when these are through, and one that was changed when the import has evaluated it.
- A run whose process is gone is over, and its number free. After as many failures in a row as there are numbers the next ones
  wait, longer each time; after one that a person terminated, for a while.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from mmmeta_dagster.runs import Phase, RunView
from mmmeta_dagster.sensor.decision import AFTER_TERMINATION
from mmmeta_dagster.sensor.pauses import pause
from mmmeta_dagster.sensor.situation import Situation
from mmmeta_dagster.shown.wording import clock_text, files

BATCHES_EACH = 2
"""Batches of due files that justify one more run. A run takes seconds to start, in which one that is at work does a batch."""


@dataclass(frozen=True)
class Helper:
    """A run to ask for.

    Attributes:
        number: which of those that share the work.
        jobs: those that it helps with, in the order of the project file.
    """

    number: int
    jobs: tuple[str, ...]


@dataclass(frozen=True)
class Sharing:
    """The answer.

    Attributes:
        asked: runs to ask for.
        lost: runs that Dagster calls unfinished and that are taken for killed.
        words: how it stands, in a sentence; empty where there is nothing to say.
    """

    asked: tuple[Helper, ...] = ()
    lost: tuple[RunView, ...] = ()
    words: str = ""


def share(situation: Situation, now: datetime) -> Sharing:
    """Which runs of ``<metadir>_work`` to ask for. ``now`` is aware UTC."""
    if not situation.shared:
        return Sharing()
    alive = [run for run in situation.helpers if run.is_alive(now)]
    lost = tuple(run for run in situation.helpers if not run.phase.ended and run not in alive)
    most = max(job.shards for job in situation.shared.values())
    standing = f"{len(alive)} of {most} runs share the work." if alive else ""
    importing = any(run.phase is Phase.STARTED and run.is_alive(now) for run in situation.runs)
    if not importing or situation.merged is None or situation.not_whole is not None:
        return Sharing(lost=lost, words=standing)
    due = dict(_due(situation))
    wait = _wait(situation, most, now) if due else None
    if wait is not None:
        return Sharing(lost=lost, words=f"{standing} {wait}".strip())
    asked = tuple(_wanted(situation, due, alive, most))
    if asked:
        of = ", ".join(
            f"{name}: {files(due[name])} due" for name in dict.fromkeys(job for one in asked for job in one.jobs)
        )
        standing = f"{of}; {len(alive) + len(asked)} of {most} runs share the work."
    return Sharing(asked, lost, standing)


def _due(situation: Situation) -> Iterator[tuple[str, int]]:
    """The jobs that can be shared now, with how many files of them are due."""
    assert situation.merged is not None
    seen = situation.merged.jobs
    for name in situation.shared:
        status = seen.get(name)
        if status is None or status.fingerprint != situation.jobs[name].fingerprint:
            continue
        before = [seen[other] for other in situation.shared[name].after if other in seen]
        if any(other.pending or other.claimed for other in before):
            continue
        if count := max(status.due, status.pending):
            yield name, count


def _wanted(situation: Situation, due: dict[str, int], alive: list[RunView], most: int) -> Iterator[Helper]:
    """The runs that are worth starting, by their numbers."""
    taken = {run.shard for run in alive}
    groups = list(_groups(situation, due))
    helpers = [sum(1 for run in alive if not run.jobs or set(run.jobs) & set(group)) for group in groups]
    free = [number for number in range(1, most + 1) if number not in taken]
    for number in free[: max(0, most - len(alive))]:  # one that a person started has no number
        best, most_wanted = -1, 0
        for index, group in enumerate(groups):
            open_to = [name for name in group if situation.shared[name].shards >= number]
            wanted = _justified(situation, due, open_to) - helpers[index]
            if wanted > most_wanted:
                best, most_wanted = index, wanted
        if best < 0:
            continue
        helpers[best] += 1
        yield Helper(number, tuple(name for name in groups[best] if situation.shared[name].shards >= number))


def _groups(situation: Situation, due: dict[str, int]) -> Iterator[list[str]]:
    """The jobs that one run may help with: those whose runs have tags of their own each by itself, the others together."""
    common = [name for name in due if not situation.shared[name].is_apart]
    if common:
        yield common
    yield from ([name] for name in due if situation.shared[name].is_apart)


def _justified(situation: Situation, due: dict[str, int], names: list[str]) -> int:
    """How many runs the due files of these jobs are worth, beside the import."""
    shares = sum(due[name] / (BATCHES_EACH * situation.shared[name].batch) for name in names)
    return math.ceil(shares) - 1


def _wait(situation: Situation, most: int, now: datetime) -> str | None:
    """Why no further run is asked for now, a sentence; None where nothing speaks against it."""
    ended = [run for run in situation.helpers if run.phase.ended]
    latest = max(ended, key=lambda run: run.last_sign, default=None)
    if latest is None:
        return None
    if latest.phase is Phase.CANCELED and (situation.loaded is None or latest.last_sign >= situation.loaded):
        again = latest.last_sign + AFTER_TERMINATION
        return _until(f"Run {latest.name}, which shared the work, was terminated", again) if now < again else None
    in_a_row = next((n for n, run in enumerate(ended) if run.phase is not Phase.FAILED), len(ended))
    if in_a_row > most:
        again = latest.last_sign + pause(situation.interval, in_a_row - most)
        if now < again:
            return _until(f"{in_a_row} runs that shared the work failed in a row", again)
    return None


def _until(what: str, again: datetime) -> str:
    return f"{what}: others are asked for at {clock_text(again)}."
