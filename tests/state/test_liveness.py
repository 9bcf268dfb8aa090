"""Who counts as dead: a worker whose lock is there and free. A lock that cannot be seen proves nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import Archive

from mmmeta import File, Job, Metadir
from mmmeta.cli.lock import run_lock
from mmmeta.state.ledger.outcomes import Claim
from mmmeta.state.ledger.sqlite.claims import SqliteClaims as Claims
from mmmeta.state.liveness import Worker, is_dead


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    made = Archive(tmp_path)
    for name in "ab":
        made.write(name)
    made.deliver()
    yield made
    made.close()


@pytest.fixture
def worker(archive: Archive) -> Iterator[Worker]:
    made = Worker(archive.client.layout.workers)
    made.start()
    yield made
    made.stop()


def _claim(job: Job, worker: Worker, lease: float = 60) -> list[Claim]:
    job.evaluate()
    with job._bench.changing() as ledger:
        return ledger.claim(9, worker=worker.name, run_id=None, lease=lease)


def _done(job: Job) -> list[str]:
    seen: list[str] = []

    def note(file: File) -> None:
        seen.append(file.unique_value)

    job.run(note)
    return seen


def _tell(archive: Archive, sql: str, *parameters: object) -> None:
    with archive.client._backend.state.database.atomic() as connection:
        connection.execute(sql, parameters)


def test_two_copies_of_the_metadir_and_one_state_db(archive: Archive, tmp_path: Path) -> None:
    """As two containers have it: what is in the hands of one does not fall into the other's."""
    shutil.copytree(archive.client_path, tmp_path / "copy")
    state = tmp_path / "shared" / "state.db"
    state.parent.mkdir()
    seen: list[str] = []
    with Metadir(archive.client_path, state=str(state)) as one, Metadir(tmp_path / "copy", state=str(state)) as two:
        one.update()

        def work(file: File) -> None:
            seen.append(file.unique_value)
            two.job("import").run(lambda other: seen.append(other.unique_value))

        one.job("import", batch_size=1).run(work)
    assert sorted(seen) == ["a", "b"]
    assert sorted(path.name for path in state.parent.iterdir()) == [
        *("state.db", "state.db.status.json", "state.db.store", "state.db.workers"),
    ]


@pytest.mark.parametrize("gone", ["file", "folder", "cannot be read"])
def test_a_lock_that_cannot_be_seen_proves_nothing(archive: Archive, worker: Worker, gone: str) -> None:
    """Whoever lives and whoever died: the lease tells, and then it counts."""
    job = archive.client.job("import")
    _claim(job, worker)
    folder = archive.client.layout.workers
    if gone == "file":
        (folder / worker.name.rpartition("/")[2]).unlink()
    elif gone == "folder":
        shutil.rmtree(folder)
    else:
        (folder / worker.name.rpartition("/")[2]).unlink()
        (folder / worker.name.rpartition("/")[2]).mkdir()
    assert not is_dead(folder, worker.name)
    if gone == "cannot be read":
        shutil.rmtree(folder)
    assert _done(job) == []
    _tell(archive, "UPDATE ledger SET lease_until = 0")
    assert sorted(_done(job)) == ["a", "b"]


def test_a_living_worker_of_another_host_keeps_its_files(archive: Archive, worker: Worker) -> None:
    """Its seconds cannot be compared with ours; as long as it holds its lock and renews, nobody takes them."""
    job = archive.client.job("import")
    _claim(job, worker)
    _tell(archive, "UPDATE ledger SET boot = 'another', lease_until = 1")
    assert _done(job) == []
    assert job.status().claimed == 2


def test_a_worker_of_another_host_that_cannot_be_seen_has_one_more_lease(archive: Archive, worker: Worker) -> None:
    """Measured from when it was first met; one that renews it is never taken from."""
    job = archive.client.job("import")
    _claim(job, worker)
    shutil.rmtree(archive.client.layout.workers)
    for _ in range(2):  # it renews, in its own seconds
        _tell(archive, "UPDATE ledger SET boot = 'another', lease_until = 1")
        assert _done(job) == []
    _tell(archive, "UPDATE ledger SET lease_until = 0 WHERE boot <> 'another'")
    assert sorted(_done(job)) == ["a", "b"]


def test_the_sweep_spares_the_lock_that_tells(archive: Archive) -> None:
    """Somebody else's run begins before the dead worker's job does: its files still come back at once, and then its lock
    goes, like that of one who held nothing."""
    job, other = archive.client.job("import"), archive.client.job("other")
    held, idle = Worker(archive.client.layout.workers), Worker(archive.client.layout.workers)
    for worker in (held, idle):
        worker.start()
    _claim(job, held)
    for worker in (held, idle):
        worker.stop(holds=True)
    assert sorted(_done(other)) == ["a", "b"]
    assert [path.name for path in archive.client.layout.workers.iterdir()] == [held.name.rpartition("/")[2]]
    assert sorted(_done(job)) == ["a", "b"]
    assert list(archive.client.layout.workers.iterdir()) == []


def test_a_killed_process_is_dead_at_once(archive: Archive) -> None:
    """By its lock: whatever number its process had."""
    source = (
        "import os, sys; from pathlib import Path; from mmmeta.state.liveness import Worker; "
        "worker = Worker(Path(sys.argv[1])); worker.start(); print(worker.name, flush=True); os.kill(os.getpid(), 9)"
    )
    folder = archive.client.layout.workers
    ended = subprocess.run([sys.executable, "-c", source, str(folder)], stdout=subprocess.PIPE, text=True, check=False)
    assert is_dead(folder, ended.stdout.strip())


CLAIM = "import os, sys; from mmmeta import Metadir; Metadir(sys.argv[1]).job('j').claim(); os.kill(os.getpid(), 9)"


def test_killed_while_it_takes_back_what_a_dead_worker_has(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dead one's lock is there until its claims are somebody else's: without it only the end of the lease tells."""
    assert subprocess.run([sys.executable, "-c", CLAIM, str(archive.client_path)]).returncode == -9
    original = Claims._take_back

    def killed(self: Claims, lease: float) -> None:
        original(self, lease)
        raise SystemExit  # nothing of it was committed

    with monkeypatch.context() as patch:
        patch.setattr(Claims, "_take_back", killed)
        with pytest.raises(SystemExit):
            archive.client.job("j").claim()
    assert sorted(_done(archive.client.job("j"))) == ["a", "b"]


FORKS = """
import os, sys, time
from pathlib import Path
from mmmeta.layout import Layout
from mmmeta.cli.lock import run_lock
from mmmeta.state.liveness import Worker

layout = Layout.at(sys.argv[1])
worker = Worker(layout.workers)
worker.start()
with run_lock(layout, exclusive=True):
    ready, forked = os.pipe()
    if not os.fork():
        os.write(forked, b"x")
        time.sleep(60)
    os.read(ready, 1)
    print(worker.name, flush=True)
    os.kill(os.getpid(), 9)
"""


def test_a_child_that_outlives_a_killed_process_keeps_nothing_locked(archive: Archive) -> None:
    """As a pool of processes does that a function has made: files come back at once, and the next run may begin."""
    layout = archive.client.layout
    command = [sys.executable, "-c", FORKS, str(layout.base)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        process.wait()
        try:
            assert is_dead(layout.workers, name)
            with run_lock(layout, exclusive=True):
                pass
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_child_that_ends_by_itself_leaves_its_parents_lock_alone(archive: Archive, worker: Worker) -> None:
    child = os.fork()
    if not child:
        worker.stop()
        os._exit(0)
    os.waitpid(child, 0)
    assert not is_dead(archive.client.layout.workers, worker.name)
    assert [path.name for path in archive.client.layout.workers.iterdir()] == [worker.name.rpartition("/")[2]]
