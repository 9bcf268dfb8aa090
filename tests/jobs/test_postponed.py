"""Web servers that ask to wait, in jobs: files are postponed with their hosts, and nobody's attempts are used up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from archives import Archive
from raw_web import Asked, RawWeb, answer

from mmmeta import Metadir, RunReport

BODY = b"a contract\n" * 100
BUSY = answer(b"", "429 Too Many Requests", "Retry-After: 3600")


class Moody:
    """A server whose answers a test sets: path → answer; the document for all others."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes | None] = {}
        self.all: bytes | Callable[[Asked], bytes | None] | None = answer(BODY)

    def __call__(self, asked: Asked) -> bytes | None:
        said = self.answers.get(asked.target, self.all)
        return said(asked) if callable(said) else said


@pytest.fixture
def moody() -> Moody:
    return Moody()


@pytest.fixture
def web(moody: Moody) -> Iterator[RawWeb]:
    with RawWeb(moody).running() as server:
        yield server


@pytest.fixture
def other(moody: Moody) -> Iterator[RawWeb]:
    with RawWeb(lambda asked: answer(BODY)).running() as server:
        yield server


def publish(archive: Archive, *webs: RawWeb, names: str = "abcde") -> Metadir:
    for number, server in enumerate(webs):
        for name in names:
            archive.write(f"{name}{number}", _file_name=f"{name}{number}.txt", public_url=f"{server.url}/{name}")
    archive.deliver()
    return archive.client


def run(client: Metadir, tmp_path: Path, **rules: Any) -> RunReport:
    download = {"to": str(tmp_path / "target"), **rules.pop("download", {})}
    return client.job("j", download=download, **{"attempts": 1, **rules}).run()


@pytest.mark.parametrize("workers", [1, 4])
def test_a_host_that_asks_to_wait_postpones_all_its_files(
    workers: int, archive: Archive, moody: Moody, web: RawWeb, other: RawWeb, tmp_path: Path
) -> None:
    """Files of other hosts go on; no attempt is used up, also where there is only one."""
    moody.all = BUSY
    client = publish(archive, web, other)
    report = run(client, tmp_path, workers=workers)
    assert (report.done, report.postponed, report.failed, report.dead, report.attempted) == (5, 5, 0, 0, 5)
    assert len(web.asked) <= workers
    job = client.recorded_job("j")
    assert {entry.attempts for entry in job.files("failed")} == {0}
    status = job.status()
    assert (status.failed, status.postponed, status.due, status.dead) == (0, 5, 0, 0)
    assert status.earliest_due is not None
    assert 3500 < status.earliest_due.timestamp() - time.time() < 3601
    (waiting,) = report.waiting
    assert (waiting.files, waiting.reason) == (5, f"waiting for {web.host}, which answered 429 Too Many Requests")


def test_the_next_run_knows_of_it(archive: Archive, moody: Moody, web: RawWeb, tmp_path: Path) -> None:
    """Also for files that come meanwhile, for other jobs, and in another process."""
    moody.all = BUSY
    client = publish(archive, web)
    run(client, tmp_path)
    archive.write("new", _file_name="new", public_url=f"{web.url}/new")
    archive.deliver()
    again = Metadir(archive.client_path)
    assert run(again, tmp_path).postponed == 1
    assert again.job("other", download={"to": str(tmp_path / "other")}).run().postponed == 6
    again.close()
    assert len(web.asked) == 1


def test_what_was_postponed_is_done_when_the_time_has_come(
    archive: Archive, moody: Moody, web: RawWeb, tmp_path: Path
) -> None:
    """By the run itself where it is still at work, else by the next one."""
    moody.all = answer(b"", "503 Service Unavailable", "Retry-After: 1")
    client = publish(archive, web)
    assert run(client, tmp_path).postponed == 5
    moody.all = answer(BODY)
    time.sleep(1.1)
    report = run(client, tmp_path)
    assert (report.done, report.postponed) == (5, 0)
    assert client.recorded_job("j").status().postponed == 0
    assert report.waiting == ()


def test_a_person_can_ask_at_once(archive: Archive, moody: Moody, web: RawWeb, tmp_path: Path) -> None:
    """``retry`` makes them due, and their host is asked again."""
    moody.all = BUSY
    client = publish(archive, web)
    run(client, tmp_path)
    moody.all = answer(BODY)
    assert client.recorded_job("j").retry() == 5
    assert run(client, tmp_path).done == 5


def test_attempts_that_were_used_stay_used(archive: Archive, moody: Moody, web: RawWeb, tmp_path: Path) -> None:
    """Being postponed neither adds one nor gives any back, and the history tells of it."""
    moody.all = answer(b"", "500 X")
    client = publish(archive, web, names="a")
    assert run(client, tmp_path, attempts=3, backoff=0.5).failed == 1
    moody.all = BUSY
    time.sleep(0.7)
    assert run(client, tmp_path, attempts=3, backoff=0.5).postponed == 1
    job = client.recorded_job("j")
    assert [entry.attempts for entry in job.files("failed")] == [1]
    assert [attempt.status for attempt in job.history()] == ["postponed", "failed"]


def test_why_says_what_is_waited_for(archive: Archive, moody: Moody, web: RawWeb, tmp_path: Path) -> None:
    moody.all = BUSY
    client = publish(archive, web, names="ab")
    run(client, tmp_path)
    for name in ("a0", "b0"):
        lines = client.recorded_job("j").why(name).lines
        assert lines[0].startswith(f"{name}: waiting for {web.host}, which answered 429 Too Many Requests, until 20")
    # Of what was not even asked for there is nothing to tell.
    assert [attempt.file for attempt in client.recorded_job("j").history()] == ["a0"]


def test_one_document_that_is_always_refused_does_not_keep_the_others(
    archive: Archive, moody: Moody, web: RawWeb, tmp_path: Path
) -> None:
    """Although it is the first in order each time: each time in a row it waits a little longer than its host."""
    moody.answers = {"/a": answer(b"", "503 X", "Retry-After: 1")}
    client = publish(archive, web)
    done = 0
    for _ in range(4):
        done += run(client, tmp_path).done
        time.sleep(1.05)
    assert done == 4


def test_a_silent_host_costs_one_time_out(
    archive: Archive, moody: Moody, web: RawWeb, other: RawWeb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that has met it has failed, the others of the host wait for it."""
    monkeypatch.setattr("mmmeta.documents.web.STALL", 0.5)
    moody.all = None
    client = publish(archive, web, other)
    started = time.monotonic()
    report = run(client, tmp_path, attempts=3)
    assert time.monotonic() - started < 2
    assert (report.done, report.failed, report.postponed) == (5, 1, 4)
    assert len(web.asked) == 1
    assert run(client, tmp_path, attempts=3).attempted == 0


def test_what_is_postponed_uses_up_no_limit(
    archive: Archive, moody: Moody, web: RawWeb, other: RawWeb, tmp_path: Path
) -> None:
    """Else a run with a limit would get nowhere."""
    moody.all = BUSY
    client = publish(archive, web, other)
    report = run(client, tmp_path, limit={"files": 3}, batch_size=2, order_by="_file_name")
    assert (report.done, report.postponed >= 1) == (3, True)


def test_what_is_there_already_is_done_all_the_same(
    archive: Archive, moody: Moody, web: RawWeb, tmp_path: Path
) -> None:
    """Nobody has to be asked for it."""
    import hashlib

    archive.write("a", content_hash=hashlib.sha1(BODY).hexdigest(), _file_name="a", public_url=f"{web.url}/a")
    archive.write("0", _file_name="0", public_url=f"{web.url}/0")
    archive.deliver()
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "a").write_bytes(BODY)
    moody.all = BUSY
    report = run(archive.client, tmp_path)
    assert (report.done, report.postponed) == (1, 1)


def test_a_file_that_changes_while_it_waits(archive: Archive, moody: Moody, web: RawWeb, tmp_path: Path) -> None:
    """Its new version is not asked for either; a deleted one is set aside."""
    moody.all = BUSY
    client = publish(archive, web, names="ab")
    run(client, tmp_path, rerun_on="metadata")
    archive.write("a0", _file_name="a0.txt", public_url=f"{web.url}/a", title="new")
    archive.remove("b0")
    archive.server.generate(ensure=True, allow_mass_delete=True)
    archive.sync()
    client.update(allow_mass_delete=True)
    report = run(client, tmp_path, rerun_on="metadata")
    assert report.postponed == 1
    assert len(web.asked) == 1
    status = client.recorded_job("j").status()
    assert (status.postponed, status.skipped) == (1, 1)


def test_headers_of_a_job(archive: Archive, moody: Moody, web: RawWeb, tmp_path: Path) -> None:
    """Who asks, and what else a server wants to know; they are no part of the definition that the ledger compares."""
    client = publish(archive, web, names="a")
    download = {"user_agent": "archive/1 (me@example.org)", "headers": {"X-Api-Key": "s3cret", "X-Version": 2}}
    job = client.job("j", download={"to": str(tmp_path / "target"), **download})
    assert job.run().done == 1
    sent = web.asked[0].headers
    assert (sent["user-agent"], sent["x-api-key"], sent["x-version"]) == ("archive/1 (me@example.org)", "s3cret", "2")
    assert "s3cret" not in repr(job.config)
    plain = client.job("j", download={"to": str(tmp_path / "target")})
    assert plain.config.fingerprint() == job.config.fingerprint()
