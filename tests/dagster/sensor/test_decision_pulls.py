"""The sensor's decision where runs can pull: when it asks for one, what a failed pull does, and what goes on meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from situations import NEW, NOW, OLD, SECOND, ask, asked, run, seen, situation, skip

from mmmeta.store.remote import Publication
from mmmeta_dagster.runs import Phase, RunView
from mmmeta_dagster.sensor.decision import AFTER_TERMINATION, Decision, decide
from mmmeta_dagster.sensor.pauses import LONGEST_PAUSE, LONGEST_PAUSE_WHILE_CHANGING
from mmmeta_dagster.sensor.situation import Cursor, Situation

NEWER = "2026-05-04T11:59:30+00:00"
NEWS = "The remote published 2026-05-04 11:59:00 UTC (revision 8); the copy here is of 2026-05-04 10:00:00 UTC (revision 7)."


def behind(text: str = NEW, revision: int = 8, **changes: object) -> Situation:
    """The copy here is merged and done, and the remote has published."""
    remote = Publication(text, datetime.fromisoformat(text), revision)
    return situation(**{"announced": 7, "remote": remote, "pulls": True, "interval": 30.0, "path": "/x", **changes})  # type: ignore[arg-type]


def empty(**changes: object) -> Situation:
    """Nothing is here yet."""
    nothing = {"published": None, "merged": None, "announced": None, "not_whole": "/x/_mmmeta is not there yet"}
    return behind(**{**nothing, "is_gone": True, **changes})  # type: ignore[arg-type]


def after(decision: Decision, phase: Phase = Phase.FAILED, age: float = 0, **changes: object) -> RunView:
    """The run that was asked for, made ``age`` seconds ago."""
    return run(phase, age, run_key=decision.run_key, **changes)


def test_a_publication_that_is_not_here_asks_for_a_run_that_pulls() -> None:
    """Before, it was only said."""
    decision = ask(behind())
    assert (decision.reason, decision.pulls, decision.jobs, decision.attempt) == (NEWS, True, None, 1)


def test_an_empty_disk_is_filled() -> None:
    """The first run of a client that has nothing but its project file."""
    decision = ask(empty())
    assert decision.reason == "The remote published 2026-05-04 11:59:00 UTC (revision 8)."
    assert decision.pulls


def test_what_is_due_here_asks_for_a_run_without_the_pull() -> None:
    """A remote that does not answer holds nobody up."""
    due = seen(failed=1, earliest_due=NOW - SECOND)
    here = behind(OLD, 7, job=due)
    assert not ask(here).pulls
    assert not ask(replace(here, remote=None, remote_problem="no answer")).pulls


def test_a_run_that_pulls_does_what_is_due_as_well() -> None:
    """One run for all of it."""
    decision = ask(behind(job=seen(pending=3, due=3)))
    assert decision.reason == f"{NEWS[:-1]}; download: 3 files are due."
    assert (decision.pulls, decision.jobs) == (True, None)


def test_a_remote_that_is_older_than_the_copy_is_named_and_not_pulled() -> None:
    """A backup was restored there."""
    assert skip(behind("2026-05-03T00:00:00+00:00", 6)).reason.startswith(
        "The store at the remote is of 2026-05-03 00:00:00 UTC (revision 6), older than the copy here"
    )


def test_while_a_run_lives_nothing_else_is_asked_for() -> None:
    """Never two at once."""
    reason = skip(behind(runs=[run(Phase.STARTED, 5)])).reason
    assert reason == f"Run 01234567 is started. To do: {NEWS[0].lower()}{NEWS[1:]}"


def test_a_run_that_was_terminated_is_left_alone_for_a_while() -> None:
    """As ever."""
    where = behind(runs=[run(Phase.CANCELED, 5)])
    assert "was terminated" in skip(where).reason
    assert ask(where, now=NOW + AFTER_TERMINATION).pulls


def test_a_pull_that_failed_is_said_in_its_words_and_asked_for_after_a_growing_pause() -> None:
    """30 seconds, doubled each time, up to an hour, for as long as it takes."""
    cursor, now, runs, pauses = Cursor(), NOW, list[RunView](), list[timedelta]()
    for attempt in range(1, 40):
        decision = ask(behind(runs=runs), cursor, now)
        assert (decision.attempt, decision.pulls, decision.gave_up) == (attempt, True, False)
        cursor, asked_at = Cursor.parse(decision.cursor.dump()), now
        age = (NOW - now).total_seconds()
        runs = [after(decision, Phase.FAILED, age, pull_failed="s3://x: no answer within 10 seconds."), *runs][:25]
        said = skip(behind(runs=runs), cursor, now + SECOND)
        assert said.reason.startswith(
            f"{NEWS} Attempt {attempt} to pull that: run 01234567: s3://x: no answer within 10 seconds. Pulls again at "
        )
        assert said.reason.endswith(" UTC. Until then nothing to do: revision 7 is merged; download: 12 done.")
        cursor = said.cursor
        while not (later := decide(behind(runs=runs), cursor, now)).run_key:
            now += timedelta(seconds=30)
            cursor = later.cursor
        pauses.append(now - asked_at)
    assert pauses[:4] == [timedelta(seconds=30), timedelta(seconds=60), timedelta(seconds=120), timedelta(seconds=240)]
    assert set(pauses[8:]) == {LONGEST_PAUSE}


def test_what_is_due_goes_on_while_a_pull_waits_for_its_next_attempt() -> None:
    """Without the pull, which would only fail again, and keep the files from their turn."""
    first = ask(behind())
    runs = [after(first, pull_failed="the bucket is not there")]
    where = behind(job=seen(pending=3, due=3), runs=runs)
    decision = ask(where, first.cursor, NOW + SECOND)
    assert not decision.pulls
    assert decision.reason.startswith(f"Download: 3 files are due. {NEWS}".replace("Download", "download"))
    assert "the bucket is not there" in decision.reason
    # What came of that run changes nothing about the pull.
    both = [run(Phase.SUCCEEDED, -1, run_key=decision.run_key), *runs]
    assert "Attempt 1 to pull that" in skip(behind(runs=both), decision.cursor, NOW + 2 * SECOND).reason
    again = ask(behind(runs=both), decision.cursor, NOW + 31 * SECOND)
    assert (again.attempt, again.pulls) == (2, True)


def test_attempts_over_what_lies_here_are_counted_by_themselves() -> None:
    """A pull between them neither uses one up nor gives one back."""
    where = behind(job=seen(pending=3, due=3), attempts=3)
    counted = asked(where, attempt=3)
    decision = ask(where, counted)
    assert decision.pulls
    assert (decision.cursor.situation, decision.cursor.attempt) == (counted.situation, 3)
    failed = [after(decision, pull_failed="no answer")]
    assert skip(replace(where, runs=failed), decision.cursor, NOW + SECOND).gave_up


def test_a_pull_that_got_on_is_followed_at_once() -> None:
    """The remote has published again while it was brought."""
    first = ask(behind())
    where = behind(NEWER, 9, published=NEW, announced=8, seen="s2", runs=[after(first, Phase.SUCCEEDED)])
    assert ask(where, first.cursor, NOW + SECOND).attempt == 1


def test_another_publication_shortens_the_pause_to_minutes() -> None:
    """What was wrong with the last one may be mended; what is wrong here is not, and is not tried at each of them."""
    first = ask(behind())
    cursor = replace(first.cursor, pull=replace(first.cursor.pull, attempt=12))  # type: ignore[type-var]
    runs = [after(first, pull_failed="a segment differs")]
    skip(behind(runs=runs), cursor, NOW + LONGEST_PAUSE_WHILE_CHANGING)
    skip(behind(NEWER, 9, runs=runs), cursor, NOW + SECOND)
    assert ask(behind(NEWER, 9, runs=runs), cursor, NOW + LONGEST_PAUSE_WHILE_CHANGING).attempt == 13


def test_a_run_that_never_began_or_was_killed_is_followed_too() -> None:
    """Dagster's queue was emptied, a machine went down."""
    first = ask(behind())
    assert "the run that was asked for never began" in skip(behind(), first.cursor, NOW + SECOND).reason
    assert ask(behind(), first.cursor, NOW + 30 * SECOND).attempt == 2
    killed = [after(first, Phase.STARTED, 0, at_work=False)]
    assert "is gone, so it counts as killed" in skip(behind(runs=killed), first.cursor, NOW + SECOND).reason
    decision = ask(behind(runs=killed), first.cursor, NOW + 30 * SECOND)
    assert decision.lost == tuple(killed)


def test_a_publication_that_a_run_has_pulled_elsewhere_is_not_asked_for_again() -> None:
    """Runs in containers of their own, whose disk the sensor does not see."""
    nothing = empty(is_shared=True)
    first = ask(nothing)
    there = replace(nothing, runs=[after(first, Phase.SUCCEEDED)])
    said = skip(there, first.cursor, NOW + SECOND)
    assert "A run has pulled that, on a machine whose copy is not the one at /x." in said.reason
    # Also when that run is long forgotten.
    later = replace(there, runs=[run(Phase.SUCCEEDED, 1)])
    assert "A run has pulled that" in skip(later, Cursor.parse(said.cursor.dump()), NOW + timedelta(days=9)).reason
    published = replace(later, remote=Publication(NEWER, datetime.fromisoformat(NEWER), 9))
    assert ask(published, said.cursor, NOW + timedelta(days=9)).attempt == 1


def test_a_run_whose_disk_is_out_of_sight_is_not_taken_for_killed() -> None:
    """However long it pulls: nobody here can see its signs of life."""
    long = run(Phase.STARTED, 7200, out_of_sight=True)
    assert "is started" in skip(empty(is_shared=True, runs=[long])).reason
    killed = run(Phase.STARTED, 7200)
    assert ask(empty(is_shared=True, runs=[killed])).lost == (killed,)


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.SUCCEEDED])
def test_a_metadir_that_was_here_and_is_gone_is_not_pulled_anew_by_itself(phase: Phase) -> None:
    """Its disk is not mounted: everything would be done again, in the folder below."""
    gone = empty(runs=[run(phase, 3600)])
    said = skip(gone, Cursor(reported=OLD)).reason
    assert (
        "the metadir at /x is gone; it was there before: mount its disk, or run archive_import, which pulls it" in said
    )
    # Only runs that could not pull: there never was one.
    assert ask(empty(runs=[run(phase, 3600, pull_failed="no answer")])).pulls
    # A state that lies in a database is not on that disk.
    assert ask(empty(runs=[run(phase, 3600)], is_shared=True), Cursor(reported=OLD)).pulls


def test_a_copy_that_is_not_whole_is_mended_by_a_pull() -> None:
    """Nobody else syncs here. Where the pull finds nothing to bring, waiting is all there is."""
    torn = behind(OLD, 7, not_whole="/x/_mmmeta/meta.db is not there yet")
    first = ask(torn)
    assert first.reason == "/x/_mmmeta/meta.db is not there yet."
    assert first.pulls
    done = replace(torn, runs=[after(first, Phase.SUCCEEDED)])
    said = skip(done, first.cursor, NOW + timedelta(hours=2))
    assert "is not there yet" in said.reason
    assert ask(replace(done, seen="s2"), said.cursor, NOW + timedelta(hours=2)).pulls
    assert (
        "stale"
        in skip(behind(OLD, 7, not_whole="meta.db is a stale copy", is_stale=True, runs=[run(Phase.FAILED, 9)])).reason
    )


def test_what_a_run_found_not_whole_does_not_keep_the_next_publication_away() -> None:
    """The remote has mended it; waiting for an hour would help nobody."""
    met = [run(Phase.FAILED, 5, not_whole="more than half of all files are gone", seen="s1")]
    assert "looking again at" in skip(behind(OLD, 7, published=NEW, announced=7, runs=met)).reason
    assert ask(behind(NEWER, 9, published=NEW, announced=8, runs=met)).pulls


def test_a_remote_that_cannot_be_read_for_a_moment_loses_no_count() -> None:
    """The pause goes on."""
    first = ask(behind())
    runs = [after(first, pull_failed="no answer")]
    away = skip(behind(remote=None, remote_problem="no answer", runs=runs), first.cursor, NOW + SECOND)
    assert "Attempt 1 to pull that" in skip(behind(runs=runs), away.cursor, NOW + 2 * SECOND).reason


def test_what_was_brought_is_forgotten() -> None:
    """By whatever way it came; the next publication is a first attempt."""
    first = ask(behind())
    here = ask(behind(NEW, 8, published=NEW, announced=8, runs=[after(first)]), first.cursor, NOW + SECOND)
    assert not here.pulls
    assert here.cursor.pull is None
