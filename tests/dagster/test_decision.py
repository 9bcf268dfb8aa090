"""The sensor's decision: a pure function of a situation, a cursor and the time."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmmeta_dagster.decision import (
    AFTER_TERMINATION,
    GATHER_RETRIES,
    LONGEST_PAUSE,
    LOOK_AGAIN,
    Decision,
    decide,
    pause,
)
from mmmeta_dagster.situation import (
    FRESH,
    STARTING,
    WARM_UP,
    Cursor,
    JobSeen,
    JobWanted,
    Merged,
    Phase,
    RunView,
    Situation,
)

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=timezone.utc)
OLD = "2026-05-04T10:00:00+00:00"
NEW = "2026-05-04T11:59:00+00:00"
SECOND = timedelta(seconds=1)


def seen(**changes: object) -> JobSeen:
    """A job that has done all its files."""
    return replace(JobSeen("f1", done=12), **changes)  # type: ignore[arg-type]


def situation(
    published: str | None = OLD, job: JobSeen | None = None, merged: Merged | str | None = "merged", **changes: object
) -> Situation:
    """A metadir of which everything is merged and done, unless told otherwise."""
    jobs = {"download": job or seen()}
    status = Merged(OLD, "id", 7, "d7", 3, jobs) if merged == "merged" else merged
    base = Situation("archive", published, status, jobs={"download": JobWanted("f1")}, seen="s1")  # type: ignore[arg-type]
    return replace(base, **changes)  # type: ignore[arg-type]


def run(phase: Phase, age: float, **changes: object) -> RunView:
    """A run that was made ``age`` seconds ago, and began and ended at once if its phase says so."""
    created = NOW - age * SECOND
    started = created if phase not in (Phase.QUEUED, Phase.STARTING) else None
    ended = created if phase.ended else None
    base = RunView("0123456789abcdef", phase, created, started, ended, run_key="k")
    return replace(base, **changes)  # type: ignore[arg-type]


def asked(where: Situation, attempt: int = 1, ago: float = 10) -> Cursor:
    """The cursor after the situation was asked for."""
    return Cursor(where.mark, attempt, NOW - ago * SECOND, "k", asks=attempt)


def ask(where: Situation, cursor: Cursor | None = None, now: datetime = NOW) -> Decision:
    """The decision, which has to be an ask."""
    decision = decide(where, cursor or Cursor(), now)
    assert decision.run_key is not None, decision.reason
    assert decision.reason.endswith(".")
    return decision


def skip(where: Situation, cursor: Cursor | None = None, now: datetime = NOW) -> Decision:
    """The decision, which has to be a skip with a reason."""
    decision = decide(where, cursor or Cursor(), now)
    assert decision.run_key is None, decision.reason
    assert len(decision.reason) > 20
    return decision


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
    assert "nothing was merged yet" in ask(situation(merged=Merged(None))).reason


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
def test_due_work_is_asked_for_although_the_remote_did_not_move(job: JobSeen, words: str) -> None:
    """Retries, the rest of a limit, ended leases, changed jobs."""
    assert words in ask(situation(job=job)).reason


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
def test_work_that_is_not_due_yet_is_a_skip_that_names_it(job: JobSeen, words: str) -> None:
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
    where = situation(merged=Merged(OLD, "id", 7, "d7", 3, jobs), jobs=grows)
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
    after = situation(NEW, merged=Merged(NEW, "id", 8, "d8", 4, {"download": seen(done=1000, pending=9, due=9)}))
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
        {"merged": Merged(NEW, "id", 8, "d8", 3, {"download": seen(pending=1, due=1)})},
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
        status = Merged(merged, "id", 7, "d", 3, {"download": seen()})
        return Situation("archive", published, status, jobs={"download": JobWanted("f1")}, runs=runs, attempts=4)

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
