"""What a client of a shared ledger is told of what is not wrong here, or wrong elsewhere: a new copy, another project file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import Archive, SettableClock, copy_metadir, deliver, fail_b, nothing
from click.testing import CliRunner
from postgres import emptied_server

from mmmeta import Metadir
from mmmeta.cli import main
from mmmeta.health.checks import examine
from mmmeta.project import JobConfig, job_config
from mmmeta.project.checks import ChecksConfig

pytestmark = pytest.mark.services


@pytest.fixture
def url() -> str:
    return emptied_server()


@pytest.fixture
def archive(url: str, tmp_path: Path, clock: SettableClock) -> Iterator[Archive]:
    made = Archive(tmp_path, client_clock=clock, state=url)
    yield made
    made.close()


def opened(path: Path, url: str, job: JobConfig) -> Metadir:
    return Metadir(path, state=url, jobs={job.name: job})


def test_a_new_copy_beside_a_whole_ledger_is_no_new_ledger(archive: Archive, url: str, tmp_path: Path) -> None:
    """Only a ledger that knows of nothing done is told to be new, in words that fit PostgreSQL."""
    keep = job_config("keep", download={"to": str(tmp_path / "out"), "name": "{content_hash}"})
    for name in "abc":
        archive.write(name, public_url=str(tmp_path / "server" / f"{name}.json"))
    archive.deliver()
    (tmp_path / "out").mkdir()
    for name in "abc":
        shutil.copyfile(tmp_path / "server" / f"{name}.json", tmp_path / "out" / name)
    shutil.rmtree(archive.client.layout.local)
    with opened(archive.client_path, url, keep) as client:
        (note,) = client.update().notes
    assert "the ledger in PostgreSQL is new, and of the first 3 files" in note
    assert "mend `state:`, or put it back" in note
    assert "sync" not in note
    with opened(archive.client_path, url, keep) as client:
        assert client.job("keep").run(nothing, limit=1).done == 1
    shutil.rmtree(archive.client.layout.local)
    with opened(archive.client_path, url, keep) as client:
        assert client.update().notes == ()


def test_files_that_are_left_out_are_not_forgotten(archive: Archive, url: str) -> None:
    """Long after they were named: by why, in counts, and by what a person looks at each morning."""
    long = "x" * 2_001
    archive.write("long", content_hash=long, title="x")
    archive.write("nul", content_hash="n\0l", title="x")
    archive.write("not asked for", content_hash="y" * 2_001, title="y")
    deliver(archive, "a", title="x")
    job = job_config("job", where={"title": "x"}, call={"function": "os:getcwd"})
    with opened(archive.client_path, url, job) as client:
        client.update()
        assert client.job("job").run(nothing).done == 1
        found = client.job("job")
        assert found.left_out() == ["n\0l", long]
        for name, word in ((long, "2,001 bytes"), ("n\0l", "NUL")):
            (verdict, *_) = found.why(name).lines
            assert "left out, no run does it" in verdict
            assert word in verdict
            assert "pending" not in verdict
        assert "never selected" in found.why("y" * 2_001).lines[0]
        (bad,) = [one for one in examine(client, ChecksConfig()) if not one.found.passed]
        assert bad.check == "nothing_left_unprocessed"
        assert bad.found.numbers["left_out"] == 2


def test_what_a_machine_without_a_copy_of_the_files_is_told(
    archive: Archive, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """History and failures are the ledger's; what needs the files says where the ledger is, and what is to be done."""
    project = tmp_path / "worker" / "mmmeta.yaml"
    project.parent.mkdir()
    project.write_text(
        "version: 1\nmetadirs:\n  archive:\n    path: ./nothing\n    state: '{{ env.STATE_URL }}'\n    jobs:\n"
        "      job: {call: {function: 'ours:do'}, attempts: 1}\n"
    )
    monkeypatch.setenv("STATE_URL", url)
    monkeypatch.chdir(project.parent)
    deliver(archive, "a", "b")
    archive.client.job("job", attempts=1).run(fail_b)

    def said(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(main, words)
        assert result.exit_code == code, result.output
        return " ".join(result.output.split())

    assert "done" in said("jobs", "history")
    assert "1 file dead" in said("jobs", "failed", "--dead")
    assert "b" in said("jobs", "failed", "--dead", "--each")
    for words, code in ((["jobs"], 0), (["jobs", "retry", "job"], 1)):
        text = said(*words, code=code)
        assert "the ledger is at postgresql+psycopg://" in text.lower()
        assert "no state db" not in text
    assert not (project.parent / "nothing").exists()


def test_metadata_is_to_be_had_without_the_ledger(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by find, so by dump; the columns of jobs need it."""
    deliver(archive, "a")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMMETA_STATE", "postgresql+psycopg://nobody@localhost:1/nothing?connect_timeout=1")
    result = CliRunner().invoke(main, ["--metadir", str(archive.client_path), "dump", "--columns", "content_hash"])
    assert (result.exit_code, result.output) == (0, '{"content_hash":"a"}\n')
    assert CliRunner().invoke(main, ["--metadir", str(archive.client_path), "dump"]).exit_code == 0
    assert CliRunner().invoke(main, ["--metadir", str(archive.client_path), "dump", "--format", "csv"]).exit_code == 1


def test_another_definition_on_another_machine_is_told(
    archive: Archive, url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By who takes its place, once each time; the same definition is no news, nor is one that only looks."""
    deliver(archive, "a", "b", title="x")
    copy_metadir(archive.client_path, tmp_path / "other", without=["local"])
    one, two = (job_config("job", where={"content_hash": name}, call={"function": "os:getcwd"}) for name in "ab")
    with opened(archive.client_path, url, one) as here, opened(tmp_path / "other", url, two) as there:
        here.update()
        here.update()
        with opened(archive.client_path, url, two) as looking:
            looking.job("job").plan()
        assert not caplog.records
        there.update()
        there.update()
        assert here.job("job").run(nothing).done == 1
    said = [record.getMessage() for record in caplog.records]
    assert [text.split(" has ")[0] for text in said] == ["job job", "job job"]
    assert all("give all the same" in text for text in said)
