"""Whether a run lives: by a lock that the kernel drops with its process, and by the clock only where no lock tells."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
import pytest
from situations import NEW, NOW, SECOND, ask, asked, run, seen, situation, skip
from small_archive import Archive
from watch import Watch

from mmmeta.layout import Layout
from mmmeta.state.liveness import Worker
from mmmeta.state.signs import FileSigns
from mmmeta_dagster.heartbeat import beating
from mmmeta_dagster.runs import FRESH, Phase
from mmmeta_dagster.sensor.pauses import LONGEST_PAUSE

STEP = """
import os, sys, time
from mmmeta.layout import Layout
from mmmeta_dagster.heartbeat import beating

layout = Layout.at(sys.argv[1], None, sys.argv[4] or None)
with beating(layout, sys.argv[2]):
    if sys.argv[3] == "fork":
        ready, forked = os.pipe()
        if not os.fork():
            os.write(forked, b"x")  # by now it has done what a child does first
            time.sleep(60)
        os.read(ready, 1)
    print(os.getpid(), flush=True)
    sys.stdin.readline()
print("between", flush=True)
sys.stdin.readline()
"""


@contextmanager
def step(layout: Layout, run_id: str, how: str = "") -> Iterator[subprocess.Popen[str]]:
    """A process that is at a step of a run until it reads a line."""
    state = "" if layout.state.parent == layout.local else str(layout.state)
    command = [sys.executable, "-c", STEP, str(layout.base), run_id, how, state]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline()
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    (tmp_path / "_mmmeta").mkdir()
    return Layout.at(tmp_path)


def _age(layout: Layout, run_id: str) -> None:
    """As if all threads of its process were held up for an hour."""
    os.utime(layout.runs / run_id, (time.time() - 3600, time.time() - 3600))


def test_a_step_that_cannot_beat_lives_and_one_that_was_killed_is_gone_at_once(layout: Layout) -> None:
    """The lock tells, and the time of the file does not."""
    assert FileSigns(layout).is_at_work("run") is None
    with step(layout, "run") as process:
        _age(layout, "run")
        assert FileSigns(layout).is_at_work("run") is True
        process.kill()
        process.wait()
        assert FileSigns(layout).is_at_work("run") is False


def test_between_two_steps_the_clock_tells(layout: Layout) -> None:
    """The lock is free, and nobody was killed."""
    with step(layout, "run") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "between\n"
        assert FileSigns(layout).is_at_work("run") is None
        assert FileSigns(layout).last_beat("run") is not None


def test_two_steps_of_a_run_at_the_same_time(layout: Layout) -> None:
    """As by the multiprocess executor: it is at work as long as one of them is."""
    with step(layout, "run") as one:
        with beating(layout, "run"):
            one.kill()
            one.wait()
            assert FileSigns(layout).is_at_work("run") is True
        assert FileSigns(layout).is_at_work("run") is None


def test_a_child_that_outlives_a_killed_run_is_not_the_run(layout: Layout) -> None:
    """A pool of processes that a function has left behind."""
    with step(layout, "run", "fork") as process:
        process.kill()
        process.wait()
        assert FileSigns(layout).is_at_work("run") is False


def test_what_another_host_has_written_proves_nothing_while_it_is_not_locked(layout: Layout) -> None:
    """Its locks may not be seen here."""
    layout.runs.mkdir(parents=True)
    (layout.runs / "run").write_text("another boot")
    assert FileSigns(layout).is_at_work("run") is None
    (layout.runs / "run").chmod(0)
    assert FileSigns(layout).is_at_work("other") is None


def test_a_run_that_is_at_work_is_not_swept_away_by_a_clock_that_jumped(layout: Layout) -> None:
    """Its file is as old as the jump."""
    with step(layout, "run"):
        os.utime(layout.runs / "run", (0, 0))
        with beating(layout, "next"):
            assert FileSigns(layout).is_at_work("run") is True


def test_signs_of_life_lie_beside_a_state_db_that_lies_elsewhere(layout: Layout, tmp_path: Path) -> None:
    """The metadir may be read-only, and be shared by several."""
    elsewhere = Layout.at(tmp_path, None, str(tmp_path / "mine" / "state.db"))
    layout.metadir.chmod(0o555)
    try:
        with beating(elsewhere, "run"):
            assert (tmp_path / "mine" / "state.db.runs" / "run").exists()
            assert FileSigns(elsewhere).is_at_work("run") is True
            assert FileSigns(layout).is_at_work("run") is None
        assert list(layout.metadir.iterdir()) == []
    finally:
        layout.metadir.chmod(0o755)


def test_any_worker_of_the_state_db_that_lives_is_seen(layout: Layout) -> None:
    """Whatever program it belongs to; one that is gone is not, and its lock stays for the ledger to look at."""
    assert not FileSigns(layout).somebody_works()
    worker = Worker(layout.workers)
    worker.start()
    assert FileSigns(layout).somebody_works()
    worker.stop()
    (layout.workers / "left").touch()
    assert not FileSigns(layout).somebody_works()
    assert (layout.workers / "left").exists()


# --- what the sensor makes of it ------------------------------------------------------------------------------------


def test_a_run_whose_lock_is_held_is_waited_for_whatever_the_clock_says() -> None:
    """A file that holds Python's interpreter lock for an hour; the clock may also have been set forward."""
    busy = run(Phase.STARTED, 90_000, alive_at=NOW - 3600 * SECOND, at_work=True)
    claimed = seen(claimed=4, lease_until=NOW - SECOND, heartbeat=NOW - 3600 * SECOND, run_id=busy.run_id)
    where = situation(NEW, job=claimed, runs=[busy])
    decision = skip(where, asked(where, ago=90_000))
    assert decision.reason.startswith("Run 01234567 is started. To do: the remote has")
    assert "claimed by" not in decision.reason
    assert decision.lost == ()


def test_a_run_whose_process_is_gone_is_followed_at_once() -> None:
    """Although its last sign of life is fresh."""
    gone = run(Phase.STARTED, 10, alive_at=NOW, at_work=False)
    claimed = seen(claimed=4, lease_until=NOW + LONGEST_PAUSE, heartbeat=NOW, run_id=gone.run_id)
    decision = ask(situation(job=claimed, runs=[gone]))
    assert decision.reason == (
        "download: 4 files are claimed by run 01234567, whose process is gone; the process of run 01234567 is gone, so it "
        "counts as killed."
    )
    assert decision.lost == (gone,)


def test_each_run_that_counts_as_killed_is_named_with_its_own_reason() -> None:
    """Not the latest one in place of all."""
    gone = run(Phase.STARTED, 10, run_id="aaaaaaaabbbb", alive_at=NOW, at_work=False)
    silent = run(Phase.STARTED, 90_000, run_id="ccccccccdddd", alive_at=NOW - FRESH - SECOND)
    reason = ask(situation(NEW, runs=[gone, silent])).reason
    assert "the process of run aaaaaaaa is gone" in reason
    assert "run cccccccc gave no sign of life since" in reason


def test_a_worker_that_is_silent_and_lives_keeps_its_files_until_its_lease_ends() -> None:
    """`mmmeta run` by hand, or another Dagster job, with a file that holds its threads up."""
    silent = seen(claimed=4, lease_until=NOW + SECOND, heartbeat=NOW - 60 * SECOND)
    skip(situation(job=silent, somebody_works=True))
    ask(situation(job=silent))
    ask(situation(job=silent, somebody_works=True), now=NOW + SECOND)


def test_a_busy_run_is_not_marked_failed_by_the_sensor(archive: Archive) -> None:
    """A real tick, a real lock, and a sign of life that is an hour old."""
    with dg.instance_for_test() as instance:
        watch = Watch(archive, instance)
        job = archive.definitions.resolve_job_def("archive_import")
        busy = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=job.tags)
        layout = Layout.at(archive.client)
        with step(layout, busy.run_id) as process:
            _age(layout, busy.run_id)
            assert f"Run {busy.run_id[:8]} is started." in watch.skips()
            process.kill()
            process.wait()
            request = watch.asks()
        assert f"the process of run {busy.run_id[:8]} is gone" in request.tags["mmmeta/reason"]
        found = instance.get_run_by_id(busy.run_id)
        assert found is not None
        assert found.status is dg.DagsterRunStatus.FAILURE
