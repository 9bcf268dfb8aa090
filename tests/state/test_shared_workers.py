"""Workers without a metadir: they have the URL of a ledger in PostgreSQL, and what it tells of the files."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from archives import Archive, SettableClock, deliver, nothing
from postgres import connected, emptied_server, query, server
from test_shared_ledger import cut_connections

from mmmeta import Metadir
from mmmeta.errors import JobError, MmmetaError, NoFilesError, StateDbError
from mmmeta.files.file import File

pytestmark = pytest.mark.services

ODD: dict[str, Any] = {
    "negative_zero": -0.0,
    "large": 1e16,
    "larger": 1.5e300,
    "integer": 2**70,
    "text": "00123",
    "empty": "",
    "nul": "a\0b",
    "control": "\x1b[31m\u2028\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    "yes": True,
    "one": 1,
    "none": None,
    "list": [1, True, 1.0, None, "1", {"a": -0.0}],
    "object": {"deep": {"er": [2**64]}},
    "key with \0 NUL": 1,
    "Ä key.with-signs": "ä",
}


@pytest.fixture
def url() -> str:
    return emptied_server()


@pytest.fixture
def archive(url: str, tmp_path: Path, clock: SettableClock) -> Iterator[Archive]:
    """A server, and a client that evaluates for all."""
    made = Archive(tmp_path, client_clock=clock, state=url)
    yield made
    made.close()


@pytest.fixture
def worker(url: str, tmp_path: Path, clock: SettableClock) -> Iterator[Metadir]:
    """It has an empty disk, and leaves it so."""
    with Metadir(tmp_path / "worker", state=url, worker=True, clock=clock) as made:
        yield made
    assert not (tmp_path / "worker").exists()


def exactly(value: Any) -> str:
    """Tells 1, 1.0, True and -0.0 apart."""
    return json.dumps(value, sort_keys=True)


def test_a_worker_does_what_was_evaluated_elsewhere(archive: Archive, worker: Metadir) -> None:
    """It sees what the one who evaluates sees of a file, value for value; each file is done by one."""
    archive.write("a", ODD)
    archive.write("b", title="other")
    archive.deliver()
    archive.client.job("job").evaluate()
    seen: dict[str, File] = {}
    report = worker.job("job").run(lambda file: seen.update({file.unique_value: file}))
    assert (report.done, report.selected) == (2, 2)
    here = archive.client.files.get("a")
    assert here is not None
    there = seen["a"]
    assert exactly(dict(there)) == exactly(dict(here))
    assert (there.fingerprint, there.revision, there.source, there.derived, there.deleted) == (
        here.fingerprint,
        here.revision,
        here.source,
        here.derived,
        False,
    )
    assert there["__meta_added"] == here["__meta_added"]
    assert there["title"] is None
    with pytest.raises(KeyError, match="no file has the key 'titel'"):
        there["titel"]
    assert archive.client.status().jobs["job"].done == 2
    assert worker.job("job").run(nothing).attempted == 0


def test_a_worker_is_told_the_version_that_it_claims(archive: Archive, worker: Metadir) -> None:
    """What was published but not evaluated is not told; what changed while it was in hands comes again."""
    archive.write("a", title="one")
    archive.deliver()
    job = archive.client.job("job", rerun_on="metadata")
    job.evaluate()
    archive.write("a", title="two")
    archive.deliver()
    hands = worker.job("job", rerun_on="metadata")
    (file,) = hands.claim(1)
    assert (file["title"], file.revision) == ("one", 1)
    job.evaluate()
    assert worker.job("job", rerun_on="metadata").claim(1) == []
    assert hands.done(file) == ["pending"]
    (file,) = hands.claim(1)
    assert (file["title"], file.revision) == ("two", 2)
    assert hands.done(file) == ["done"]


def test_metadata_that_do_not_make_a_file_due_are_told_all_the_same(archive: Archive, worker: Metadir) -> None:
    """A pending file's title is the last one, though the job comes again for content only."""
    archive.write("a", title="one")
    archive.deliver()
    archive.client.job("job").evaluate()
    archive.write("a", title="two")
    archive.deliver()
    archive.client.job("job").evaluate()
    with worker.job("job").one() as file:
        assert file is not None
        assert file["title"] == "two"


def test_what_a_worker_undoes_is_told_too(archive: Archive, worker: Metadir) -> None:
    """A deleted file comes with its metadata."""
    archive.write("a", title="one")
    archive.write("b")
    archive.deliver()
    job = archive.client.job("job", on_delete="action")
    job.run(nothing)
    archive.remove("a")
    archive.server.generate(ensure=True)
    archive.sync()
    archive.client.update()
    job.evaluate()
    with worker.job("job", on_delete="action").one() as file:
        assert file is not None
        assert file.claim is not None
        assert (file.claim.retract, file.deleted, file["title"]) == (True, True, "one")


def test_actions_and_receipts_work_there(archive: Archive, url: str, tmp_path: Path, clock: SettableClock) -> None:
    """A row is loaded under the receipt of the ledger, a document is put where the job puts it."""
    for name in "ab":
        archive.write(name, _file_name=f"{name}.txt", title=name.upper())
        (archive.server_path / f"{name}.txt").write_text(name)
    (archive.server_path / "_mmmeta").mkdir()
    (archive.server_path / "_mmmeta" / "config.yml").write_text(
        f"metadata: {{unique: content_hash, content: title}}\nremote: {{url: 'file://{archive.server_path}/{{_file_name}}'}}\n"
    )
    archive.deliver()
    target = f"sqlite:///{tmp_path}/target.db"
    rules: dict[str, Any] = {
        "rows": {"load": {"to": target, "table": "rows"}},
        "documents": {"download": {"to": str(tmp_path / "documents"), "name": "{title}.txt"}},
    }
    for name, action in rules.items():
        archive.client.job(name, **action).evaluate()
    with Metadir(tmp_path / "worker", archive.server_path, state=url, worker=True, clock=clock) as worker:
        for name, action in rules.items():
            report = worker.job(name, **action).run()
            assert report.done == 2, report.failures
        assert worker.job("rows", **rules["rows"])._bench.state_id == archive.client.job("rows")._bench.state_id
    assert sorted(path.name for path in (tmp_path / "documents").glob("*.txt")) == ["A.txt", "B.txt"]
    results = [archive.client.job(name, **action).results() for name, action in rules.items()]
    assert [(result.done, result.missing) for result in results] == [(2, 0), (2, 0)]


def test_a_worker_for_some_files(archive: Archive, worker: Metadir) -> None:
    """A partition: those of the pending files that a filter means, by all that filters know."""
    deliver(archive, "a", day="2026-01-01", kinds=["x"])
    deliver(archive, "b", day="2026-01-02", number=3)
    deliver(archive, "c", day="2026-01-02", number="3")
    archive.client.job("job").evaluate()
    seen: list[str] = []
    job = worker.job("job")
    assert job.due({"day": "2026-01-02"}) == 2
    report = job.run(lambda file: seen.append(file.unique_value), only={"day": "2026-01-02", "number": {">=": 2}})
    assert (seen, report.done) == (["b"], 1)
    with pytest.raises(MmmetaError, match="no file has the key 'dya'"):
        job.run(nothing, only={"dya": 1})
    assert archive.client.status().jobs["job"].pending == 2


@pytest.mark.parametrize(
    "ask",
    [
        lambda m: list(m.files.find(title="x")),
        lambda m: m.files.count(),
        lambda m: m.files.get("a"),
        lambda m: m.update(),
        lambda m: m.status(),
        lambda m: m.job("job").plan(),
        lambda m: m.job("job").why("a"),
        lambda m: m.job("job").retry(dead=True),
        lambda m: m.job("job").selected(),
    ],
    ids=["find", "count", "get", "update", "status", "plan", "why", "retry", "selected"],
)
def test_what_needs_all_files_says_so(archive: Archive, worker: Metadir, ask: Any) -> None:
    """One error, which says where to ask."""
    deliver(archive, "a", title="x")
    archive.client.job("job").evaluate()
    with pytest.raises(NoFilesError, match=r"this is a worker: .* no files but those that it has claimed"):
        ask(worker)


def test_before_anybody_has_evaluated(archive: Archive, worker: Metadir) -> None:
    """It is told so; and of a job that nobody has evaluated."""
    with pytest.raises(StateDbError, match="knows no files yet: run `mmmeta update` where the metadir is"):
        worker.job("job").run(nothing)
    deliver(archive, "a")
    archive.client.job("other").evaluate()
    with pytest.raises(JobError, match="'job' was never evaluated"):
        worker.job("job").run(nothing)


def test_a_worker_with_another_definition_is_told(archive: Archive, worker: Metadir) -> None:
    """In a run and in hands; the ledger stays as it is."""
    deliver(archive, "a", title="x")
    archive.client.job("job").evaluate()
    before = query(archive.client, "SELECT selection, rules FROM jobs")
    for job in (worker.job("job", where={"title": "x"}), worker.job("job", attempts=9)):
        for work in (lambda job=job: job.run(nothing), lambda job=job: job.claim(1)):
            with pytest.raises(JobError, match="was evaluated by another definition"):
                work()
    assert query(archive.client, "SELECT selection, rules FROM jobs") == before


def test_metadata_too_long_are_named_and_the_others_go_on(
    archive: Archive, worker: Metadir, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The file fails where it cannot be told; where the metadir is, it is done by a later run that has it."""
    monkeypatch.setattr("mmmeta.state.ledger.postgresql.payloads.LONGEST", 2_000)
    archive.write("a", text="x" * 3_000)
    archive.write("b")
    archive.deliver()
    archive.client.job("job").evaluate()
    assert "the metadata of the file 'a' are too long for PostgreSQL" in caplog.text
    report = worker.job("job").run(nothing)
    assert report.done == 1
    (failed,) = archive.client.job("job").files("failed")
    assert failed.file == "a"
    assert "too long" in (failed.error_message or "")


def test_an_older_ledger_is_told_everything_once_more(archive: Archive, worker: Metadir) -> None:
    """As the step to the format with payloads leaves it: all who evaluate tell all."""
    deliver(archive, "a", title="x")
    archive.client.job("job").evaluate()
    with connected() as connection:
        connection.execute("DELETE FROM payloads")
        connection.execute("DELETE FROM followed")
        connection.execute("UPDATE mmmeta_info SET value = '' WHERE name = 'common'")
    archive.client.close()
    with Metadir(archive.client_path, state=archive.client.layout.ledger) as again:
        again.job("job").evaluate()
    with worker.job("job").one() as file:
        assert file is not None
        assert file["title"] == "x"


PROJECT = """
version: 1
metadirs:
  archive:
    path: ./client
    state: "{{ env.STATE_URL }}"
    jobs:
      rows:
        load: {to: "{{ env.TARGET_URL }}", table: rows, columns: {id: content_hash, title: title}}
        batch_size: 10
"""


@pytest.mark.slow
def test_processes_that_are_killed_while_files_change(
    archive: Archive, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mmmeta work` four times on an empty disk, with random kills and cut connections, publications meanwhile: in the end
    each file is in the target once, in its last version, and the history has no other attempts than it says."""
    chance = random.Random(16)
    versions = {f"{number:03}": 0 for number in range(200)}

    def publish(names: list[str]) -> None:
        for name in names:
            versions[name] += 1
            archive.write(name, title=f"version {versions[name]}")
        archive.deliver()
        archive.client.job("rows", **config).evaluate()

    config: dict[str, Any] = {
        "load": {"to": f"{server()}", "table": "rows", "columns": {"id": "content_hash", "title": "title"}},
    }
    with connected() as connection:
        connection.execute("DROP TABLE IF EXISTS public.rows, public._mmmeta_receipts")
    away = tmp_path / "away"
    away.mkdir()
    (away / "mmmeta.yaml").write_text(PROJECT)
    monkeypatch.setenv("STATE_URL", url)
    monkeypatch.setenv("TARGET_URL", server())
    publish(list(versions))

    def begin() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "mmmeta", "work", "--quiet"], cwd=away)

    workers = [begin() for _ in range(4)]
    for turn in range(6):
        time.sleep(1)
        publish(chance.sample(sorted(versions), 20))
        killed = workers.pop(0)
        killed.kill()
        killed.wait()
        workers.append(begin())
        if turn % 2:
            cut_connections()
    for worker in workers:
        worker.wait(120)  # one whose connection was cut has said so
    until = time.monotonic() + 60
    while archive.client.status().jobs["rows"].done < len(versions):
        assert time.monotonic() < until
        begin().wait(60)
    with connected() as connection:
        rows = connection.execute("SELECT id, title FROM public.rows ORDER BY id").fetchall()
        connection.execute("DROP TABLE public.rows, public._mmmeta_receipts")
    assert rows == [(name, f"version {number}") for name, number in versions.items()]
    assert [path.name for path in away.iterdir()] == ["mmmeta.yaml"]
    with archive.client._backend.state.ledger.looking() as view:
        assert view.miscounts() == []


def test_the_cache_of_who_evaluates_may_go(archive: Archive, worker: Metadir) -> None:
    """Nothing is told that is known."""
    deliver(archive, "a", title="x")
    archive.client.job("job").evaluate()
    before = query(archive.client, "SELECT xmin::text, file FROM payloads")
    archive.client.close()
    shutil.rmtree(archive.client.layout.local)
    archive.client.update()
    archive.client.job("job").evaluate()
    assert query(archive.client, "SELECT xmin::text, file FROM payloads") == before
