"""What the sensor makes of the remote: how the copy here differs from what it has published, and when a run is asked for that pulls.

Runs can pull where the project file says how (``sync: {pull: …}``); elsewhere a difference is said, and nothing more. A pull is
asked for once for each publication. One that fails is asked for again after a pause that doubles each time, for as long as it
takes, because what it fails for lies elsewhere; what is due here goes on meanwhile.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from mmmeta.store.remote import Publication
from mmmeta.store.text import read_moment
from mmmeta_dagster.runs import Phase, RunView
from mmmeta_dagster.sensor.pauses import LONGEST_PAUSE, LONGEST_PAUSE_WHILE_CHANGING, pause
from mmmeta_dagster.sensor.situation import Cursor, PullAsked, Situation
from mmmeta_dagster.shown.wording import published_text


def behind(situation: Situation) -> str | None:
    """That the remote has published something else than the copy here is of, as a part of a sentence.

    None where it has not, where it cannot be told, and where the store there is the older one. Different is enough: no clock
    decides what is new.
    """
    return None if situation.remote is None or _is_older(situation, situation.remote) else _difference(situation)


def older(situation: Situation) -> str | None:
    """That the store at the remote is older than the copy here, a sentence; None where it is not."""
    remote = situation.remote
    if remote is None or not _is_older(situation, remote) or _difference(situation) is None:
        return None
    return (
        f"The store at the remote is of {published_text(remote.text)}{_revision(remote.revision)}, older than {_copy(situation)}, "
        f"which is of {published_text(situation.published or '')}{_revision(situation.announced)}."
    )


def _difference(situation: Situation) -> str | None:
    remote = situation.remote
    assert remote is not None
    there, here = remote.text.strip(), (situation.published or "").strip()
    if there == here and not _is_further(situation, remote):
        return None
    published = f"the remote published {published_text(there)}{_revision(remote.revision)}"
    return published + (
        f"; {_copy(situation)} is of {published_text(here)}{_revision(situation.announced)}" if here else ""
    )


def _copy(situation: Situation) -> str:
    return "what was merged" if situation.is_elsewhere else "the copy here"


def _is_older(situation: Situation, remote: Publication) -> bool:
    before = read_moment((situation.published or "").strip())
    return before is not None and remote.moment < before and not _is_further(situation, remote)


def _is_further(situation: Situation, remote: Publication) -> bool:
    return remote.revision is not None and situation.announced is not None and remote.revision > situation.announced


def _revision(number: int | None) -> str:
    return "" if number is None else f" (revision {number})"


def was_here(situation: Situation, cursor: Cursor) -> bool:
    """Whether there was a metadir before. A run whose pull failed tells nothing of that."""
    return bool(
        situation.merged or cursor.reported or any(run.pull_failed is None for run in situation.runs if run.phase.ended)
    )


def remembered(situation: Situation, cursor: Cursor) -> Cursor:
    """The cursor with what has become known of the pull that was asked for last."""
    asked = cursor.pull
    if asked is None or asked.done or (run := run_of(situation, asked)) is None or run.phase is not Phase.SUCCEEDED:
        return cursor
    return replace(cursor, pull=replace(asked, done=True))


def wanted(situation: Situation, cursor: Cursor) -> str | None:
    """Why a run is wanted that pulls, as a part of a sentence; None where none is."""
    remote, asked = situation.remote, cursor.pull
    if not situation.pulls or remote is None:
        return None
    if situation.is_gone and not situation.is_shared and was_here(situation, cursor):
        return None  # its disk may not be mounted; a pull would fill the folder below, and everything be done again
    done = asked is not None and asked.done and asked.remote == mark_of(remote)
    if (news := behind(situation)) is not None:
        return None if done else news
    if situation.not_whole is None or situation.is_stale or situation.is_gone:
        return None
    # A pull mends what is missing here. Where it has not, it would not the next time.
    return None if done and asked is not None and asked.copy == situation.seen else situation.not_whole


def not_seen(situation: Situation, cursor: Cursor) -> str | None:
    """That what a run has pulled does not lie where the sensor looks, a sentence; None where it does."""
    asked, remote = cursor.pull, situation.remote
    if asked is None or remote is None or not asked.done or asked.remote != mark_of(remote):
        return None
    news = behind(situation)
    if news is None:
        return None
    return f"{capital(news)}. A run has pulled that, on a machine whose copy is not the one at {situation.path}."


def asked_anew(situation: Situation, cursor: Cursor, now: datetime, run_key: str) -> PullAsked:
    """What to remember of a pull that is asked for now: the first, or one more after what has failed."""
    asked = cursor.pull
    attempt = asked.attempt + 1 if asked is not None and _is_same(situation, asked) else 1
    assert situation.remote is not None
    return PullAsked(mark_of(situation.remote), situation.seen, attempt, now, run_key)


def next_at(situation: Situation, cursor: Cursor) -> datetime | None:
    """When to ask again for a pull that has not helped; None where it is the first."""
    asked = cursor.pull
    if asked is None or situation.remote is None or not _is_same(situation, asked):
        return None
    changed = asked.remote != mark_of(situation.remote)
    run = run_of(situation, asked)
    since = asked.asked_at if run is None else max(asked.asked_at, run.last_sign)
    longest = LONGEST_PAUSE_WHILE_CHANGING if changed else LONGEST_PAUSE
    return since + pause(situation.interval, asked.attempt, longest)


def run_of(situation: Situation, asked: PullAsked) -> RunView | None:
    """The run that was asked for; None where it is not among the latest."""
    return next((run for run in situation.runs if run.run_key == asked.run_key), None)


def mark_of(remote: Publication) -> str:
    """What tells one publication from another."""
    return f"{remote.text.strip()} {'' if remote.revision is None else remote.revision}".strip()


def capital(words: str) -> str:
    """A part of a sentence as its beginning."""
    return f"T{words[1:]}" if words.startswith("the ") else words


def _is_same(situation: Situation, asked: PullAsked) -> bool:
    """Whether the copy is as it was when the pull was asked for, which therefore has not helped."""
    return not asked.done and asked.copy == situation.seen
