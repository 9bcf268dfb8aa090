"""The sensor's decision, when it asks: reasons, due work, what cannot be used, and all of it together."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from situations import NEW, NOW, OLD, SECOND, ask, asked, run, seen, situation, skip, status

from mmmeta.state.status import JobStatus
from mmmeta_dagster.runs import FRESH, Phase, RunView
from mmmeta_dagster.sensor.decision import Decision, decide
from mmmeta_dagster.sensor.due import GATHER_RETRIES, LOOK_AGAIN
from mmmeta_dagster.sensor.pauses import LONGEST_PAUSE
from mmmeta_dagster.sensor.situation import Cursor, JobWanted, Situation

# --- reasons to ask -------------------------------------------------------------------------------------------------


def test_nothing_new_and_nothing_due_is_a_skip_that_says_where_things_stand() -> None:
    """The commonest tick."""
    assert skip(situation()).reason == "Nothing to do: revision 7 is merged; download: 12 done."


def test_a_moved_remote_is_asked_for() -> None:
    """Newer metadata in the store."""
    decision = ask(situation(NEW))
    assert decision.reason == (
        "The remote has metadata of 2026-05-04 11:59:00 UTC, 2026-05-04 10:00:00 UTC was merged last."
    )
    assert decision.attempt == 1


def test_a_store_that_is_older_than_before_is_asked_for() -> None:
    """Different, not newer: a clock that was set back, a backup that was restored."""
    ask(situation("2025-01-01T00:00:00+00:00"))


def test_a_state_db_that_is_gone_is_asked_for_and_given_up_like_anything_else() -> None:
    """What status.json says of it counts for nothing."""
    gone = situation(state_problem="the state db is gone", attempts=3, runs=[run(Phase.FAILED, 20)])
    assert ask(gone).reason == "The state db is gone."
    assert skip(gone, asked(gone, attempt=3)).gave_up
    assert gone.mark != situation().mark


def test_nothing_merged_yet_is_asked_for() -> None:
    """The first day."""
    assert "nothing was merged yet" in ask(situation(merged=None)).reason
    assert "nothing was merged yet" in ask(situation(merged=status(None))).reason


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (seen(pending=3, due=3), "download: 3 files are due"),
        (seen(pending=1, due=1), "download: 1 file is due"),
        (seen(failed=1, earliest_due=NOW), "download: 1 failed file is due again since 2026-05-04 12:00:00 UTC"),
        (
            seen(failed=3, earliest_due=NOW - GATHER_RETRIES),
            "download: the first of 3 failed files is due again since 2026-05-04 11:59:00 UTC",
        ),
        (seen(claimed=4, lease_until=NOW), "4 files are claimed by a worker whose lease ended"),
        (
            seen(claimed=4, lease_until=NOW + SECOND, heartbeat=NOW - FRESH - SECOND),
            "4 files are claimed by a worker that gave no sign of life since 2026-05-04 11:59:29 UTC",
        ),
        (seen(claimed=4), "4 files are claimed by a worker whose lease ended"),
        (seen(fingerprint="f0"), "download: the job was changed"),
    ],
)
def test_due_work_is_asked_for_although_the_remote_did_not_move(job: JobStatus, words: str) -> None:
    """Retries, the rest of a limit, ended leases, changed jobs."""
    assert words in ask(situation(job=job)).reason


def test_what_no_selection_was_evaluated_over_is_asked_for() -> None:
    """Something else has merged or saved: a job that is behind the state revision (3) has not seen it."""
    decision = ask(situation(job=seen(evaluated=2)))
    assert decision.reason == "download: files were merged or saved since its selection was evaluated."
    skip(situation(job=seen(evaluated=3)))


def test_retries_that_fall_due_one_after_the_other_are_gathered_into_one_run() -> None:
    """Fifty files fail together and come back over half a minute; a run for each would be fifty runs."""
    # Three of them were due when a run ended and status.json was written.
    where = situation(job=seen(failed=50, due=3, earliest_due=NOW))
    assert "50 failed, next retry at 2026-05-04 12:01:00 UTC" in skip(where, now=NOW + 59 * SECOND).reason
    assert "the first of 50 failed files" in ask(where, now=NOW + GATHER_RETRIES).reason


def test_other_work_does_not_wait_for_retries_to_be_gathered() -> None:
    """The run that it asks for takes along what is due by then."""
    where = situation(job=seen(failed=50, earliest_due=NOW, due=1, pending=1))
    assert ask(where).reason == "download: 1 file is due."


def test_claims_of_a_run_that_is_over_are_due_at_once() -> None:
    """Killed, and Dagster noticed: neither lease nor heartbeat need to be waited for."""
    held = seen(claimed=4, lease_until=NOW + SECOND, heartbeat=NOW, run_id="0123456789abcdef")
    where = situation(job=held, runs=[run(Phase.FAILED, 2)])
    assert ask(where).reason == "download: 4 files are claimed by run 01234567, which is over."


def test_a_job_that_was_added_to_the_project_file_is_asked_for() -> None:
    """status.json does not know it."""
    where = situation(jobs={"download": JobWanted("f1"), "load": JobWanted("f2")})
    assert "load: the job is new" in ask(where).reason


def test_a_job_that_was_removed_from_the_project_file_asks_for_nothing() -> None:
    """Its due files stay in the ledger and wake nobody."""
    skip(situation(job=seen(pending=3, due=3), jobs={}))


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (seen(failed=1, earliest_due=NOW + SECOND), "1 failed, next retry at 2026-05-04 12:00:01 UTC"),
        (seen(failed=2, earliest_due=NOW + SECOND), "2 failed, next retry at 2026-05-04 12:01:01 UTC"),
        (seen(claimed=4, lease_until=NOW + SECOND, heartbeat=NOW), "4 claimed until 2026-05-04 12:00:01 UTC"),
        (seen(dead=1), "1 dead, waiting for a person"),
    ],
)
def test_work_that_is_not_due_yet_is_a_skip_that_names_it(job: JobStatus, words: str) -> None:
    """The person at the sensor's page sees when it goes on, and what does not go on by itself."""
    assert words in skip(situation(job=job)).reason


def test_a_selection_that_grows_with_time_is_looked_at_now_and_then() -> None:
    """`retrieved_at older than 7 days` gains files although nothing happens."""
    grows = {"download": JobWanted("f1", grows_with_time=True)}
    where = situation(job=seen(evaluated_at=NOW), jobs=grows)
    skip(where)
    assert "as time passed" in ask(where, now=NOW + LOOK_AGAIN).reason
    assert "as time passed" in ask(situation(jobs=grows)).reason


def test_each_selection_that_grows_with_time_has_its_own_clock() -> None:
    """A job that runs often must not keep another's selection from being looked at."""
    grows = {name: JobWanted("f1", grows_with_time=True) for name in ("download", "load")}
    jobs = {"download": seen(evaluated_at=NOW), "load": seen(evaluated_at=NOW - LOOK_AGAIN)}
    where = situation(merged=status(OLD, "id", 7, "d7", 3, jobs), jobs=grows)
    assert ask(where).reason == "load: files may have entered the selection as time passed."


def test_a_look_at_a_selection_is_no_change_of_the_situation() -> None:
    """A run that looks and fails would be followed for ever otherwise."""
    assert situation(job=seen(evaluated_at=NOW)).mark == situation(job=seen()).mark


def test_looking_now_and_then_is_never_given_up() -> None:
    """Each look that finds nothing leaves the situation as it was; that is not a failure."""
    grows = {"download": JobWanted("f1", grows_with_time=True)}
    cursor, now = Cursor(), NOW
    for _ in range(50):
        now += LOOK_AGAIN
        where = situation(jobs=grows)
        decision = ask(where, cursor, now)
        assert decision.attempt == 1
        assert where.merged is not None
        looked = replace(where, merged=replace(where.merged, jobs={"download": seen(evaluated_at=now)}))
        cursor = skip(looked, decision.cursor, now + SECOND).cursor


# --- a store or a metadir that cannot be used -----------------------------------------------------------------------


def test_an_empty_metadir_is_a_skip_that_says_what_to_do() -> None:
    """Before the first sync."""
    where = situation(None, merged=None, path="/data/archive")
    assert skip(where).reason == (
        "No metadata yet at /data/archive: the store has no remote_last_updated. Sync the metadir, or generate it."
    )


def test_a_half_written_store_is_a_skip_and_does_not_hide_due_work() -> None:
    """The text is no moment; what the jobs have to do does not depend on it."""
    where = situation(None, store_problem="'2026-0' is not a moment")
    assert "'2026-0' is not a moment" in skip(where).reason
    ask(replace(where, merged=situation(job=seen(pending=1, due=1)).merged))


def test_a_store_key_that_vanished_is_a_skip() -> None:
    """Someone deleted it, or a sync brings the store last."""
    assert "no remote_last_updated any more" in skip(situation(None)).reason


def test_a_metadir_that_is_not_whole_is_waited_for_without_an_attempt() -> None:
    """The store arrives before meta.db."""
    where = situation(NEW, not_whole="meta.db is not there yet")
    cursor = Cursor(asks=3)
    decision = skip(where, cursor)
    assert "meta.db is not there yet" in decision.reason
    assert decision.cursor == cursor
    assert ask(replace(where, not_whole=None), decision.cursor).attempt == 1


def test_metadata_that_is_announced_and_not_here_yet_is_waited_for_without_a_run() -> None:
    """As long as meta.db is the file that the last update read."""
    before = status(OLD, "id", 7, "d7", 3, {"download": seen()}, "m1")
    where = situation(NEW, merged=before, announced=8, metadata_file="m1")
    assert skip(where).reason.startswith("Waiting: the store announces revision 8, meta.db is still at 7;")
    for change in ({"metadata_file": "m2"}, {"announced": 7}, {"announced": None}):
        assert ask(replace(where, **change)).attempt == 1  # type: ignore[arg-type]
    assert "2 files are due" in ask(replace(where, merged=replace(before, jobs={"download": seen(pending=2)}))).reason


def test_a_metadata_db_made_anew_that_arrives_after_its_store_is_asked_for() -> None:
    """Its revisions begin at 1, so the update before it took the old one for what the store announces."""
    jobs = {"download": seen()}
    where = situation(merged=status(OLD, "id", 7, "d7", 3, jobs, "m1"), announced=1, metadata_file="m1")
    skip(where)
    arrived = replace(where, metadata_file="m2")
    assert ask(arrived).reason == "meta.db is another file now, and the store announces revision 1."
    skip(replace(arrived, merged=status(OLD, "other", 1, "d1", 4, jobs, "m2")))
    # Written anew without being another: a copy of everything each minute is no news.
    skip(replace(arrived, announced=7))
    skip(replace(arrived, metadata_file=None))


def test_a_metadata_db_that_arrives_ends_giving_up() -> None:
    """Whatever the attempts failed for, the next one meets another file."""
    where = situation(NEW, attempts=3, metadata_file="m1", runs=[run(Phase.FAILED, 20)])
    gave_up = skip(where, asked(where, attempt=3)).cursor
    assert ask(replace(where, metadata_file="m2"), gave_up).attempt == 1


def test_what_a_run_found_not_whole_is_left_alone_until_it_changes() -> None:
    """Only a run can see that meta.db is torn in the middle; another run would see the same."""
    torn = run(Phase.FAILED, 100, not_whole="the digests differ", seen="s1")
    where = situation(NEW, runs=[torn])
    decision = skip(where, asked(where, ago=100))
    assert "the digests differ" in decision.reason
    assert decision.cursor.attempt == 1


def test_a_metadir_that_changed_since_a_run_found_it_not_whole_is_asked_for_at_once() -> None:
    """The sync is through; the try before was no attempt."""
    torn = run(Phase.FAILED, 5, not_whole="the digests differ", seen="s1")
    where = situation(NEW, runs=[torn], seen="s2")
    assert ask(where, asked(where, ago=5)).attempt == 1


def test_a_metadir_that_stays_as_it_is_is_looked_at_again_after_the_longest_pause() -> None:
    """It may have been a file server's hiccup."""
    torn = run(Phase.FAILED, 0, not_whole="the digests differ", seen="s1")
    where = situation(NEW, runs=[torn])
    skip(where, asked(where), NOW + LONGEST_PAUSE - SECOND)
    assert ask(where, asked(where), NOW + LONGEST_PAUSE).attempt == 1


def test_a_metadir_that_keeps_changing_and_is_never_whole_is_tried_ever_more_rarely_and_never_given_up() -> None:
    """A cron job that copies a broken meta.db every minute must not make a failed run every minute."""
    runs: list[RunView] = []
    cursor, now, moments = Cursor(), NOW, []
    for tick in range(400):
        where = situation(NEW, runs=list(reversed(runs)), seen=f"s{tick}", attempts=3)
        decision = decide(where, cursor, now)
        assert not decision.gave_up
        cursor = decision.cursor
        if decision.run_key:
            moments.append(now)
            runs.append(RunView(str(tick), Phase.FAILED, now, now, now, not_whole="torn", seen=f"s{tick}"))
        now += 30 * SECOND
    pauses = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(moments)]
    assert pauses[:6] == [30, 30, 60, 120, 240, 300]
    assert set(pauses[6:]) == {300}


# --- cursor ---------------------------------------------------------------------------------------------------------


def test_a_cursor_survives_being_written_and_read() -> None:
    """With and without a time."""
    for cursor in (Cursor(), Cursor("abc", 2, NOW, "abc-2-7", 7, True, "x")):
        assert Cursor.parse(cursor.dump()) == cursor


@pytest.mark.parametrize("text", [None, "", "2026-05-04", "[]", "null", "7", '{"other": 1}', '{"asked_at": "x"}', "{"])
def test_a_cursor_that_cannot_be_read_counts_as_new(text: str | None) -> None:
    """Someone reset it in the UI, or another version wrote it."""
    assert Cursor.parse(text) == Cursor()


# --- the whole of it ------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["tick", "publish", "succeed", "fail", "kill", "beat"]),
            st.integers(min_value=0, max_value=4000),
        ),
        max_size=80,
    )
)
def test_whatever_happens_there_is_one_run_at_a_time_and_nothing_is_forgotten(events: list[tuple[str, int]]) -> None:
    """A small world: a remote, a status, runs that succeed, fail, are killed; ticks at any time."""
    now, cursor, merged, published = NOW, Cursor(), OLD, OLD
    runs: list[RunView] = []
    keys: set[str] = set()

    def world() -> Situation:
        found = status(merged, "id", 7, "d", 3, {"download": seen()})
        return Situation("archive", published, found, jobs={"download": JobWanted("f1")}, runs=runs, attempts=4)

    def tick() -> Decision:
        nonlocal cursor
        decision = decide(world(), cursor, now)
        cursor = Cursor.parse(decision.cursor.dump())
        if decision.run_key is not None:
            assert published != merged
            assert not any(run.is_alive(now) for run in runs)
            assert decision.run_key not in keys
            assert decision.attempt <= 4
            keys.add(decision.run_key)
            runs.insert(0, RunView(f"{len(runs):08}", Phase.STARTED, now, now, alive_at=now))
        return decision

    for event, seconds in events:
        now += seconds * SECOND
        current = runs[0] if runs and not runs[0].phase.ended else None
        if event == "publish":
            published = f"2026-05-04T12:00:00.{len(keys):06}+00:00 {now.isoformat()}"
        elif event == "tick":
            tick()
        elif current is not None and event == "succeed":
            merged = published
            runs[0] = replace(current, phase=Phase.SUCCEEDED, ended=now)
        elif current is not None and event == "fail":
            runs[0] = replace(current, phase=Phase.FAILED, ended=now)
        elif current is not None and event == "beat":
            runs[0] = replace(current, alive_at=now)
    for _ in range(12):
        if published == merged:
            break
        now += 2 * LONGEST_PAUSE
        decision = tick()
        assert decision.run_key is not None or decision.reason.startswith("Gave up")
        if decision.run_key is not None:
            merged = published
    else:
        assert cursor.attempt == 4
    assert json.loads(cursor.dump()).get("asks", 0) == len(keys)
