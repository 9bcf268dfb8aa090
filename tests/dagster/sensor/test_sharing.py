"""How many runs are asked for that share the work: never more than there are shards, and than the due files are worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import dagster as dg
import pytest
from situations import NOW, OLD, SECOND, run, seen, situation, status
from small_archive import Archive

from mmmeta.state.status import JobStatus
from mmmeta_dagster.runs import Phase, RunView, runs_of
from mmmeta_dagster.sensor.sharing import Sharing, share
from mmmeta_dagster.sensor.situation import JobWanted, SharedJob, Situation

IMPORT = run(Phase.STARTED, 60, at_work=True)


def at_work(
    jobs: Mapping[str, JobStatus], shared: Mapping[str, SharedJob], *helpers: RunView, **changes: object
) -> Situation:
    """An import at work, and these that help."""
    merged = status(OLD, "id", 7, "d7", 3, jobs)
    wanted = {name: JobWanted("f1") for name in jobs}
    given = {"runs": (IMPORT,), "merged": merged, "jobs": wanted, "shared": shared, "helpers": helpers, **changes}
    return replace(situation(), **given)  # type: ignore[arg-type]


def helper(number: int | None, phase: Phase = Phase.STARTED, age: float = 20, **changes: object) -> RunView:
    known = {"run_id": f"helper{number}{phase}", "shard": number, "at_work": None if phase.ended else True}
    return run(phase, age, **{**known, **changes})


def shares(where: Situation, after: timedelta = timedelta()) -> Sharing:
    return share(where, NOW + after)


def numbers(where: Situation, after: timedelta = timedelta()) -> list[int]:
    return [one.number for one in shares(where, after).asked]


@pytest.mark.parametrize(
    ("due", "asked"), [(0, 0), (10, 0), (20, 0), (21, 1), (40, 1), (41, 2), (80, 3), (100, 4), (1_000_000, 4)]
)
def test_as_many_as_the_due_files_are_worth_and_never_more_than_shards(due: int, asked: int) -> None:
    """Two batches of ten each, and the import is one of those who do them."""
    found = shares(at_work({"look": seen(pending=due, due=due)}, {"look": SharedJob(4, 10)}))
    assert [one.number for one in found.asked] == list(range(1, asked + 1))
    assert {one.jobs for one in found.asked} <= {("look",)}
    if asked:
        assert found.words == f"look: {due} files are due; {asked} of 4 runs share the work."


@pytest.mark.parametrize("phase", [Phase.QUEUED, Phase.STARTING, Phase.STARTED])
def test_those_that_are_there_count_however_far_they_are(phase: Phase) -> None:
    """Also one that a person started, which has no number."""
    jobs, shared = {"look": seen(pending=1000, due=1000)}, {"look": SharedJob(4, 10)}
    there = [helper(2, phase, 1), helper(4, phase, 1)]
    assert numbers(at_work(jobs, shared, *there)) == [1, 3]
    assert numbers(at_work(jobs, shared, *there, helper(None, phase, 1))) == [1]
    full = at_work(jobs, shared, *there, helper(1, phase, 1), helper(3, phase, 1))
    assert shares(full).asked == ()
    assert shares(full).words == "4 of 4 runs share the work."


def test_few_files_are_left_to_those_who_are_at_it() -> None:
    """What is due is worth two, and they are there."""
    jobs, shared = {"look": seen(pending=55, due=55)}, {"look": SharedJob(8, 10)}
    assert numbers(at_work(jobs, shared)) == [1, 2]
    assert numbers(at_work(jobs, shared, helper(1), helper(2))) == []


def test_a_dead_one_is_replaced_at_the_next_look() -> None:
    """Whether Dagster knows that it is dead, or only its lock says so; then Dagster is told."""
    jobs, shared = {"look": seen(pending=1000, due=1000)}, {"look": SharedJob(2, 10)}
    dead = helper(2, at_work=False)
    found = shares(at_work(jobs, shared, helper(1), dead))
    assert [one.number for one in found.asked] == [2]
    assert found.lost == (dead,)
    assert numbers(at_work(jobs, shared, helper(1), helper(2, Phase.FAILED))) == [2]


def test_one_that_cannot_be_seen_from_here_lives_where_dagster_looks_after_it() -> None:
    """In a container on another host; elsewhere it counts as killed after a while."""
    far = helper(1, age=600, at_work=None)
    jobs, shared = {"look": seen(pending=1000, due=1000)}, {"look": SharedJob(1, 10)}
    assert numbers(at_work(jobs, shared, replace(far, out_of_sight=True))) == []
    assert numbers(at_work(jobs, shared, far)) == [1]


@pytest.mark.parametrize(
    "changes",
    [
        {"runs": ()},
        {"runs": (run(Phase.QUEUED, 5),)},
        {"runs": (run(Phase.STARTED, 60, at_work=False),)},
        {"runs": (run(Phase.FAILED, 5),)},
        {"not_whole": "meta.db is cut off"},
        {"merged": None},
    ],
)
def test_nobody_helps_where_nobody_imports(changes: dict[str, object]) -> None:
    """What keeps the import from being asked for keeps these, too; one that is dead is told of nevertheless."""
    dead = helper(1, at_work=False)
    where = at_work({"look": seen(pending=1000, due=1000)}, {"look": SharedJob(4, 10)}, dead, **changes)
    assert shares(where).asked == ()
    assert shares(where).lost == (dead,)


def test_a_job_has_its_own_number_of_shards() -> None:
    """As many runs as the largest; each helps with the jobs that have so many."""
    jobs = {"load": seen(pending=1000, due=1000), "ocr": seen(pending=1000, due=1000), "idle": seen()}
    shared = {"load": SharedJob(1, 10), "ocr": SharedJob(3, 10), "idle": SharedJob(3, 10)}
    asked = shares(at_work(jobs, shared)).asked
    assert [(one.number, one.jobs) for one in asked] == [(1, ("load", "ocr")), (2, ("ocr",)), (3, ("ocr",))]


def test_runs_with_tags_of_their_own_help_with_one_job() -> None:
    """Those that wait for most come first, and what is there is counted for what it helps with."""
    jobs = {"load": seen(pending=60, due=60), "ocr": seen(pending=200, due=200)}
    shared = {"load": SharedJob(4, 10), "ocr": SharedJob(4, 10, is_apart=True)}
    asked = shares(at_work(jobs, shared)).asked
    assert [one.jobs for one in asked] == [("ocr",)] * 4
    there = [helper(number, jobs=("ocr",)) for number in (1, 2)]
    few = {"load": seen(pending=60, due=60), "ocr": seen(pending=60, due=60)}
    assert [one.jobs for one in shares(at_work(few, shared, *there)).asked] == [("load",), ("load",)]


def test_a_job_that_hangs_on_another_waits_until_that_is_through() -> None:
    """What failed and is dead there holds up nobody."""
    shared = {"get": SharedJob(4, 10), "read": SharedJob(4, 10, after=frozenset({"get"}))}
    due = seen(pending=1000, due=1000)
    for before in (seen(pending=500, due=500), seen(claimed=1)):
        found = shares(at_work({"get": before, "read": due}, shared)).asked
        assert all("read" not in one.jobs for one in found)
    found = shares(at_work({"get": seen(failed=3, dead=2), "read": due}, shared)).asked
    assert [one.jobs for one in found] == [("read",)] * 4


def test_a_job_that_was_changed_waits_until_the_import_has_evaluated_it() -> None:
    """A run that helps would refuse it."""
    jobs = {"look": seen(pending=1000, due=1000, fingerprint="f0")}
    assert numbers(at_work(jobs, {"look": SharedJob(4, 10)})) == []


def test_failures_in_a_row_make_a_pause_that_grows() -> None:
    """As many as there are shards may die at once and are replaced; who fails on and on is not started without end."""
    jobs, shared = {"look": seen(pending=1000, due=1000)}, {"look": SharedJob(2, 10)}
    failed = [helper(1, Phase.FAILED, 3) for _ in range(2)]
    assert numbers(at_work(jobs, shared, *failed)) == [1, 2]
    one_more = at_work(jobs, shared, *failed, helper(1, Phase.FAILED, 9))
    assert numbers(one_more) == []
    assert (
        "3 runs that shared the work failed in a row: others are asked for at 2026-05-04 12:00:27"
        in shares(one_more).words
    )
    assert numbers(one_more, 28 * SECOND) == [1, 2]
    assert numbers(at_work(jobs, shared, helper(1, Phase.SUCCEEDED, 2), *one_more.helpers)) == [1, 2]


def test_after_a_person_terminated_one_none_is_asked_for_for_a_while() -> None:
    """Time to switch it off, or to mend things; the end of the server is no person."""
    jobs, shared = {"look": seen(pending=1000, due=1000)}, {"look": SharedJob(2, 10)}
    ended = helper(1, Phase.CANCELED, 30)
    assert "was terminated: others are asked for at" in shares(at_work(jobs, shared, ended)).words
    assert numbers(at_work(jobs, shared, ended)) == []
    assert numbers(at_work(jobs, shared, ended, loaded=NOW - SECOND)) == [1, 2]
    assert numbers(at_work(jobs, shared, ended), timedelta(minutes=10)) == [1, 2]


def test_without_shards_nothing_is_said() -> None:
    """And nothing is asked for."""
    assert shares(at_work({"look": seen(pending=1000, due=1000)}, {})) == Sharing()


@pytest.mark.parametrize(
    ("settings", "watched"),
    [
        ({}, False),
        ({"run_monitoring": {"enabled": True}}, False),
        (
            {"run_monitoring": {"enabled": True}, "run_launcher": {"module": "not_installed_here", "class": "Pods"}},
            True,
        ),
        ({"run_launcher": {"module": "not_installed_here", "class": "Pods"}}, False),
    ],
)
def test_dagster_looks_after_runs_where_its_launcher_can(
    archive: Archive, settings: dict[str, object], watched: bool
) -> None:
    """The default launcher cannot, monitoring or not; one whose package is missing here starts its runs elsewhere."""
    with dg.instance_for_test(overrides=settings) as instance:
        job = archive.definitions.resolve_job_def("archive_import")
        instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=job.tags)
        (view,) = runs_of(instance, "archive_import", archive.config)
    assert view.out_of_sight is watched
