"""The sensor and the runs that it asked for: failed, killed, at work, of another archive."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise

import dagster as dg
import pytest
from small_archive import Archive
from watch import Watch

from mmmeta_dagster import keys


def test_a_run_that_failed_is_followed_by_others_and_given_up_loudly(watch: Watch) -> None:
    """A function that cannot be imported: three attempts with growing pauses, then a reason that stays."""
    text = watch.archive.project.read_text()
    watch.archive.configure(text.replace("dagster_test_actions:look", "dagster_test_actions:lok"))
    attempts = []
    for tick in range(40):
        watch.ahead = timedelta(seconds=tick * 5)
        result = watch.tick()
        if result.run_requests:
            attempts.append((tick * 5, result.run_requests[0].tags.get(keys.TAG_ATTEMPT)))
            assert not watch.run(result.run_requests[0]).success
    # The first run merged the metadata and downloaded, so the situation was another afterwards.
    assert [attempt for _, attempt in attempts] == [None, None, "2 of 3", "3 of 3"]
    pauses = [later - earlier for (earlier, _), (later, _) in pairwise(attempts)]
    assert pauses[1:] == [5, 10]
    assert watch.skips().startswith("Gave up after 3 attempts: run ")
    watch.archive.write("contract3", "contract")
    watch.archive.publish()
    assert keys.TAG_ATTEMPT not in watch.asks().tags


def test_nothing_is_asked_for_while_a_run_is_alive(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is stuck in a slow document: a tick in the middle, with news to import."""
    (archive.root / "slow.py").write_text(
        "import time, pathlib\n"
        "HERE = pathlib.Path(__file__).parent\n"
        "def look(file):\n"
        "    (HERE / 'looking').touch()\n"
        "    while not (HERE / 'go').exists():\n"
        "        time.sleep(0.02)\n"
    )
    archive.configure(archive.project.read_text().replace("dagster_test_actions:look", "slow:look"))
    with dg.instance_for_test() as instance:
        watch = Watch(archive, instance)
        request = watch.asks()
        # Dagster's processes that mirror the run's output belong to the run: whatever fails here, it has to end first.
        with ThreadPoolExecutor(1) as pool:
            run = pool.submit(watch.run, request)
            try:
                _until(lambda: (archive.root / "looking").exists() or run.done())
                archive.write("contract3", "contract")
                archive.publish()
                assert "is started. To do: the remote has metadata of" in watch.skips()
            finally:
                (archive.root / "go").touch()
            assert run.result().success
        assert watch.run(watch.asks()).success


def test_a_run_without_a_sign_of_life_is_reported_as_failed_and_followed(archive: Archive) -> None:
    """What Dagster still calls started, the sensor ends, so that it blocks no queue."""
    with dg.instance_for_test() as instance:
        watch = Watch(archive, instance)
        job = archive.definitions.resolve_job_def("archive_import")
        killed = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=job.tags)
        beat = archive.client / "_mmmeta" / "local" / "runs" / killed.run_id
        beat.parent.mkdir(parents=True)
        beat.touch()
        assert "is started" in watch.skips()
        watch.ahead = timedelta(seconds=31)
        request = watch.asks()
        assert f"run {killed.run_id[:8]} gave no sign of life since" in request.tags[keys.TAG_REASON]
        run = instance.get_run_by_id(killed.run_id)
        assert run is not None
        assert run.status is dg.DagsterRunStatus.FAILURE
        assert watch.run(request).success


def test_another_archive_of_the_same_name_is_none_of_its_business(archive: Archive) -> None:
    """Two code locations in one Dagster."""
    with dg.instance_for_test() as instance:
        shutil.copytree(archive.client, archive.root / "other")
        text = archive.project.read_text()
        archive.configure(text.replace("path: ./client", "path: ./other"))
        other = archive.definitions.resolve_job_def("archive_import")
        instance.create_run_for_job(other, status=dg.DagsterRunStatus.STARTED, tags=other.tags)
        archive.configure(text)
        assert Watch(archive, instance).asks()


def test_two_entries_of_one_path_with_a_state_db_each_both_come_to_rest(
    archive: Archive, instance: dg.DagsterInstance
) -> None:
    """What one has merged is not what the other has."""
    text = archive.project.read_text()
    projects = [text.replace("path: ./client", f"path: ./client\n    state: ./{name}.db") for name in ("one", "two")]
    watches = [Watch(archive, instance) for _ in projects]
    for watch, project in zip(watches, projects, strict=True):
        archive.configure(project)
        assert watch.run(watch.asks()).success
    for watch, project in zip(watches, projects, strict=True):
        archive.configure(project)
        assert watch.skips().startswith("Nothing to do: revision 1 is merged")


def test_it_opens_no_database(watch: Watch) -> None:
    """Nor leaves anything behind: what SQLite makes when it opens a file would show."""
    watch.run(watch.asks())
    before = {path: path.stat().st_atime_ns for path in (watch.archive.client / "_mmmeta").rglob("*.db*")}
    for path in before:
        path.chmod(0o000)
    watch.skips()
    assert set((watch.archive.client / "_mmmeta").rglob("*.db*")) == set(before)


def _until(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
