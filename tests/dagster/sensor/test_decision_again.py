"""The sensor's decision, when it waits: never two runs at once, again after a failure, and not for ever."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from situations import NEW, NOW, OLD, SECOND, ask, asked, run, seen, situation, skip, status

from mmmeta_dagster.runs import FRESH, STARTING, WARM_UP, Phase, RunView
from mmmeta_dagster.sensor.decision import AFTER_TERMINATION, decide
from mmmeta_dagster.sensor.pauses import LONGEST_PAUSE, pause
from mmmeta_dagster.sensor.situation import Cursor, JobWanted

# --- never two at once ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "alive",
    [
        run(Phase.QUEUED, 1),
        run(Phase.QUEUED, 90_000),
        run(Phase.STARTING, STARTING.total_seconds()),
        run(Phase.STARTED, WARM_UP.total_seconds()),
        run(Phase.STARTED, 90_000, alive_at=NOW - FRESH),
    ],
    ids=["queued", "queued for a day", "starting", "just started", "busy for a day"],
)
def test_while_a_run_is_alive_nothing_is_asked_for(alive: RunView) -> None:
    """Whoever began it."""
    where = situation(NEW, runs=[alive])
    cursor = asked(where, attempt=2, ago=90_000)
    decision = skip(where, cursor)
    assert decision.reason.startswith("Run 01234567 is ")
    assert decision.cursor == cursor


def test_an_older_run_that_is_alive_counts_too() -> None:
    """A person started one, and it failed at once; the sensor's own goes on."""
    skip(situation(NEW, runs=[run(Phase.FAILED, 5), run(Phase.STARTED, 900, alive_at=NOW)]))


@pytest.mark.parametrize(
    "dead",
    [
        run(Phase.STARTING, STARTING.total_seconds() + 1),
        run(Phase.STARTED, WARM_UP.total_seconds() + 1),
        run(Phase.STARTED, 90_000, alive_at=NOW - FRESH - SECOND),
    ],
    ids=["never started", "no sign of life ever", "none lately"],
)
def test_a_run_without_a_sign_of_life_counts_as_killed_and_is_followed(dead: RunView) -> None:
    """Dagster calls it started for ever."""
    where = situation(NEW, runs=[dead])
    decision = ask(where, asked(where, ago=90_000))
    assert decision.attempt == 2
    assert decision.lost == (dead,)
    assert "run 01234567 gave no sign of life since" in decision.reason


def test_a_heartbeat_from_before_the_run_is_not_its_own() -> None:
    """It is measured from the start instead."""
    skip(situation(NEW, runs=[run(Phase.STARTED, 10, alive_at=NOW - timedelta(days=1))]))


def test_two_ticks_ask_for_one_run() -> None:
    """Also when the second comes before Dagster has made the run."""
    where = situation(NEW)
    first = ask(where)
    second = skip(where, first.cursor, NOW + SECOND)
    assert "never began" in second.reason
    third = skip(replace(where, runs=[run(Phase.QUEUED, 0)]), second.cursor, NOW + 2 * SECOND)
    assert "is queued" in third.reason


# --- again, and not for ever ----------------------------------------------------------------------------------------


def test_the_pause_doubles_and_ends_at_an_hour() -> None:
    """In seconds, for the default interval."""
    pauses = [pause(30, attempt).total_seconds() for attempt in (1, 2, 3, 7, 8, 20, 10_000)]
    assert pauses == [30, 60, 120, 1920, 3600, 3600, 3600]


@pytest.mark.parametrize(
    ("phase", "words"),
    [
        (Phase.FAILED, "run 01234567 failed"),
        (Phase.SUCCEEDED, "run 01234567 succeeded and left everything as it was"),
    ],
)
def test_a_run_that_changed_nothing_is_followed_by_another_after_a_pause(phase: Phase, words: str) -> None:
    """Measured from its end."""
    where = situation(NEW, runs=[run(phase, 20)])
    cursor = asked(where, attempt=1, ago=25)
    assert words in skip(where, cursor).reason
    assert "Attempt 1 of 20" in skip(where, cursor).reason
    decision = ask(where, cursor, NOW + 10 * SECOND)
    assert (decision.attempt, decision.cursor.attempt) == (2, 2)


def test_a_run_that_was_terminated_is_not_followed_for_a_while() -> None:
    """Whoever pressed the button would wonder otherwise."""
    where = situation(NEW, runs=[run(Phase.CANCELED, 20)])
    decision = skip(where, asked(where, ago=25), NOW + AFTER_TERMINATION - 21 * SECOND)
    assert decision.reason.startswith(
        "Run 01234567 was terminated. Asks again at 2026-05-04 12:09:40 UTC, unless this is switched off. To do: the"
    )
    assert ask(where, asked(where, ago=25), NOW + AFTER_TERMINATION).attempt == 2


def test_a_run_that_was_terminated_because_dagster_stopped_is_followed_at_once() -> None:
    """The interrupt that ended the server ended its run; after the restart it goes on."""
    ask(situation(NEW, runs=[run(Phase.CANCELED, 20)], loaded=NOW - SECOND))


def test_a_run_that_got_on_is_followed_at_once() -> None:
    """A limit left a rest: the next thousand."""
    before = situation(NEW)
    after = situation(NEW, merged=status(NEW, "id", 8, "d8", 4, {"download": seen(done=1000, pending=9, due=9)}))
    decision = ask(replace(after, runs=[run(Phase.SUCCEEDED, 1)]), asked(before))
    assert decision.attempt == 1


def test_after_all_attempts_it_gives_up_loudly_once_and_says_so_at_each_tick() -> None:
    """The reason stays in sight; the announcement comes once."""
    where = situation(NEW, attempts=3, runs=[run(Phase.FAILED, 20)])
    first = skip(where, asked(where, attempt=3, ago=25), NOW + LONGEST_PAUSE)
    assert first.gave_up
    assert first.reason.startswith("Gave up after 3 attempts: run 01234567 failed.")
    second = skip(where, first.cursor, NOW + 2 * LONGEST_PAUSE)
    assert not second.gave_up
    assert second.reason == first.reason


@pytest.mark.parametrize(
    "change",
    [
        {"published": "2026-05-04T12:34:56+00:00"},
        {"merged": status(NEW, "id", 8, "d8", 3, {"download": seen(pending=1, due=1)})},
        {"jobs": {"download": JobWanted("f2")}},
        {"loaded": NOW},
    ],
    ids=["new metadata", "a run by hand", "a changed job", "code loaded anew"],
)
def test_any_change_of_the_situation_ends_giving_up(change: dict[str, object]) -> None:
    """And the attempts begin at one."""
    where = situation(NEW, attempts=3, runs=[run(Phase.FAILED, 20)])
    gave_up = skip(where, asked(where, attempt=3)).cursor
    decision = ask(replace(where, **change), gave_up)  # type: ignore[arg-type]
    assert decision.attempt == 1
    assert not decision.cursor.gave_up


def test_run_keys_are_never_used_twice() -> None:
    """Dagster ignores a key that was used, for ever, also when its run failed."""
    used = set()
    cursor, now = Cursor(), NOW
    for published in [NEW, OLD, NEW, OLD] * 5:
        where = situation(published)
        for _ in range(3):
            now += LONGEST_PAUSE
            decision = decide(where, cursor, now)
            cursor = decision.cursor
            if decision.run_key:
                assert decision.run_key not in used
                used.add(decision.run_key)
    assert len(used) == 30


def test_run_keys_are_new_after_a_person_has_reset_the_cursor() -> None:
    """In the same situation, at the first attempt again: the run that is asked for must not be dropped silently."""
    first, again = ask(situation(NEW)), ask(situation(NEW), Cursor(), NOW + SECOND)
    assert (first.attempt, again.attempt) == (1, 1)
    assert first.run_key != again.run_key


def test_a_run_that_is_queued_for_long_is_waited_for_with_words_about_what_may_hold_it_up() -> None:
    """Dagster alone can start or end it; a person reads what to look at."""
    assert skip(situation(NEW, runs=[run(Phase.QUEUED, 600)])).reason.startswith("Run 01234567 is queued. To do:")
    reason = skip(situation(NEW, runs=[run(Phase.QUEUED, 601)])).reason
    assert reason.startswith(
        "Run 01234567 is queued. It waits since 2026-05-04 11:49:59 UTC: for other runs, for the daemon,"
    )
    assert "`dagster instance concurrency get archive_state_db`" in reason
    assert "free_slots_after_run_end_seconds" in reason


def test_a_step_that_waits_for_the_slot_of_a_run_at_work_is_not_taken_for_killed() -> None:
    """It gives no sign of life before it has the slot; the other one does."""
    hours = 90_000
    waiting = run(Phase.STARTED, hours, behind=NOW - WARM_UP)
    between = run(Phase.STARTED, hours, alive_at=NOW - timedelta(hours=1), behind=NOW - FRESH)
    for one in (waiting, between):
        skip(situation(NEW, runs=[one]))
        ask(situation(NEW, runs=[one]), now=NOW + SECOND)


# --- no reason is not the same as achieved --------------------------------------------------------------------------

ALL_CLAIMED = seen(done=0, claimed=12, lease_until=NOW + LONGEST_PAUSE, heartbeat=NOW, run_id="0123456789abcdef")
"""A run has everything in its hands."""


def test_a_tick_while_a_run_has_claimed_everything_forgets_nothing() -> None:
    """The run fails and gives everything back: the second attempt, then the third, and no more."""
    waiting = situation(job=seen(done=0, pending=12, due=12), attempts=3)
    at_work = situation(job=ALL_CLAIMED, attempts=3, runs=[run(Phase.STARTED, 5, alive_at=NOW)])
    cursor, now, asks = Cursor(), NOW, 0
    for _ in range(60):
        decision = decide(replace(waiting, runs=[run(Phase.FAILED, 5)] if asks else []), cursor, now)
        cursor = decision.cursor
        if decision.run_key is not None:
            asks += 1
            cursor = skip(at_work, cursor).cursor
        now += 60 * SECOND
    assert asks == 3
    assert cursor.gave_up


@pytest.mark.parametrize(
    "hidden",
    [
        {"published": None, "announced": None, "store_problem": "it cannot be read"},
        {"published": None, "announced": None},
        {"published": NEW, "announced": 8, "metadata_file": "m1"},
    ],
    ids=["unreadable", "gone for a moment", "a sync is under way"],
)
def test_a_publication_that_cannot_be_seen_for_a_moment_is_not_merged_by_that(hidden: dict[str, object]) -> None:
    """A tick that finds nothing to do for another reason keeps the pause and the giving up."""
    before = status(OLD, "id", 7, "d7", 3, {"download": seen()}, metadata_file="m1")
    where = situation(NEW, merged=before, announced=8, metadata_file="m2", attempts=3, runs=[run(Phase.FAILED, 20)])
    gave_up = skip(where, asked(where, attempt=3)).cursor
    meanwhile = skip(replace(where, **hidden), gave_up)  # type: ignore[arg-type]
    assert meanwhile.cursor == gave_up
    assert not skip(where, meanwhile.cursor, NOW + LONGEST_PAUSE).gave_up


def test_claims_of_somebody_else_hide_work_and_do_not_do_it() -> None:
    """`mmmeta run` by hand has everything, and is stopped."""
    waiting = situation(job=seen(done=0, pending=12, due=12), attempts=3, runs=[run(Phase.FAILED, 20)])
    gave_up = skip(waiting, asked(waiting, attempt=3)).cursor
    by_hand = replace(ALL_CLAIMED, run_id=None)
    cursor = skip(replace(waiting, merged=situation(job=by_hand).merged), gave_up).cursor
    assert skip(waiting, cursor, NOW + LONGEST_PAUSE).reason.startswith("Gave up after 3 attempts")


def test_work_that_is_due_is_followed_in_one_count_whether_the_store_can_be_read_or_not() -> None:
    """A store that comes and goes must not make each attempt a first one."""
    due = seen(pending=3, due=3)
    where = situation(job=due, runs=[run(Phase.FAILED, 90)])
    blind = replace(where, published=None, store_problem="it cannot be read")
    assert ask(blind, asked(where, ago=90_000)).attempt == 2


def test_what_was_achieved_begins_anew_the_next_time() -> None:
    """A look that found nothing leaves no count behind, and nor does a store that is gone meanwhile."""
    grows = {"download": JobWanted("f1", grows_with_time=True)}
    where = situation(None, jobs=grows)
    looked = situation(None, jobs=grows, job=seen(evaluated_at=NOW), runs=[run(Phase.SUCCEEDED, 5)])
    assert skip(looked, ask(where).cursor).cursor.attempt == 0
