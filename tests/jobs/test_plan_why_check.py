"""Looking without touching: plans and dry runs, ``why``, the history, ``check``; and what adopting and forgetting leave."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from archives import Archive, SettableClock

from mmmeta import File, Job, Metadir
from mmmeta.errors import JobError, StateDbError
from mmmeta.jobs import results
from mmmeta.project.job import job_config
from mmmeta.state.ledger.rules import HISTORY_DAYS


@pytest.fixture
def archive(archive_by_id: Archive) -> Archive:
    """Identity and content apart, in all of these tests."""
    return archive_by_id


def publish(archive: Archive, *names: str, **keys: object) -> None:
    archive.server.files.upsert_many([{"id": name, "content_hash": "1", **keys} for name in names], ["id"])
    archive.sync()
    archive.client.update()


def delete(archive: Archive, *names: str) -> None:
    archive.server.files.delete(id=list(names))
    archive.sync()
    archive.client.update()


def nothing(file: File) -> None:
    """An action that succeeds."""


def fail(file: File) -> None:
    raise ValueError("no good")


def local_bytes(archive: Archive) -> dict[str, str]:
    """Every file that is the client's own, but for SQLite's shared memory."""
    local = archive.client.layout.local
    return {
        str(path.relative_to(local)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(local.rglob("*"))
        if path.is_file() and not path.name.endswith("-shm")
    }


# Plans and dry runs


def test_a_plan_writes_nothing(archive: Archive) -> None:
    """Not a byte below local/, and nothing counts as changed; what it says is what the run does then."""
    publish(archive, "a", "b", "c", kind="x", size=10)
    publish(archive, "d", kind="y", size=5)
    job = archive.client.job("import", where={"kind": "x"}, on_delete="action")
    job.run(nothing, limit=1)
    delete(archive, "a")
    publish(archive, "e", kind="x", size=100)
    other = archive.client.job("import", where={"kind": ["x", "y"]}, on_delete="action")
    before = local_bytes(archive)
    plan = other.plan()
    assert local_bytes(archive) == before
    assert other.plan() == plan
    assert (plan.files, plan.bytes, plan.newly_selected, plan.retract, plan.changed) == (5, 135, 2, 1, True)
    report = other.run(nothing)
    assert (report.attempted, report.retracted, report.done) == (5, 1, 4)


def test_a_plan_for_a_job_that_never_ran_leaves_no_trace(archive: Archive) -> None:
    """It stays unknown to the ledger."""
    publish(archive, "a")
    assert archive.client.job("import").plan().files == 1
    with archive.client._backend.state.database.reading() as connection:
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM ledger").fetchone() == (0,)


def test_dry_runs_write_nothing(archive: Archive) -> None:
    """They say what would happen."""
    publish(archive, "a", "b", "c")
    job = archive.client.job("import", attempts=1)
    job.run(fail, limit=1)
    before = local_bytes(archive)
    assert job.retry(dead=True, dry_run=True) == 1
    assert job.adopt(["b", "c"], dry_run=True).adopted == 2
    assert job.forget(dry_run=True) == 3
    assert local_bytes(archive) == before


# Why


def why(job: Job, file: str) -> str:
    return "\n".join(job.why(file).lines)


def test_why_has_an_answer_for_every_status(archive: Archive, clock: SettableClock) -> None:
    """Pending, claimed, done, failed, dead, set aside; and why not selected."""
    publish(archive, "a", "b", "c", kind="x", pages=3)
    publish(archive, "d", kind="y", pages=3)
    job = archive.client.job("import", where={"kind": "x", "pages": {">": 2}}, attempts=2, backoff="1h")
    assert why(job, "a") == "a: pending: the next run selects it.\nThe selection means it."
    assert why(job, "d").startswith("d: never selected.\nNot selected, because this does not hold: ")
    assert why(job, "d").endswith('The file has kind: "y".')
    assert why(job, "d").count("does not hold") == 1
    job.evaluate()
    assert why(job, "a").startswith("a: pending since ")
    (held,) = job.claim()
    assert why(job, "a").startswith("a: in the hands of a worker since ")
    job.done(held)
    assert "a: done " in why(job, "a")
    assert "again when its content changes" in why(job, "a")
    job.run(fail, run_id="12345678-9", limit=1)
    assert why(job, "b").startswith("b: failed 1 of 2 times, tried again after ")
    assert "ValueError: no good" in why(job, "b")
    assert "failed by run 12345678: ValueError: no good" in why(job, "b")
    clock.forward(days=1)
    job.run(fail)
    assert why(job, "b").startswith("b: dead after 2 attempts, waits for `jobs retry`. Last: ValueError: no good")
    delete(archive, "c")
    job.evaluate()
    assert "c: set aside" in why(job, "c")
    assert "the file was deleted before it was processed" in why(job, "c")
    assert "The file is marked deleted at the remote." in why(job, "c")
    other = archive.client.job("import", where={"kind": "y"}, attempts=2)
    other.evaluate()
    assert "left the selection when the job's definition changed" in why(other, "b")


def test_why_something_is_to_be_undone(archive: Archive) -> None:
    """And that it was."""
    publish(archive, "a")
    job = archive.client.job("import", on_delete="action")
    job.run(nothing)
    delete(archive, "a")
    job.evaluate()
    assert "to be undone because the file was deleted" in why(job, "a")
    job.run(nothing)
    assert "what the job had done with it was undone" in why(job, "a")


def test_why_a_file_that_is_not_there(archive: Archive) -> None:
    """With the names that are near."""
    publish(archive, "report-1")
    with pytest.raises(JobError, match=r"there is no file 'report': .* Did you mean 'report-1'"):
        archive.client.job("import").why("report")


# History, adopting, forgetting


def test_history_is_kept_for_ninety_days(
    archive: Archive, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By file and by run; the ledger itself forgets nothing."""
    monkeypatch.setattr("mmmeta.state.ledger.sqlite.ledger.HISTORY_KEPT", 1)
    publish(archive, "a", "b")
    job = archive.client.job("import")
    job.run(nothing, run_id="first-run")
    clock.forward(days=HISTORY_DAYS - 1)
    publish(archive, "a", content_hash="2")
    job.run(fail, run_id="second-run")
    assert [(attempt.file, attempt.status) for attempt in job.history()] == [
        ("a", "failed"),
        ("b", "done"),
        ("a", "done"),
    ]
    assert [attempt.run_id for attempt in job.history(file="a")] == ["second-run", "first-run"]
    assert [attempt.file for attempt in job.history(run_id="first")] == ["b", "a"]
    clock.forward(days=2)
    job.run(nothing, limit=1)
    assert {attempt.run_id for attempt in job.history()} == {"second-run", None}
    (done,) = [entry for entry in job.files("done") if entry.file == "b"]
    assert (done.run_id, done.settled_at) == ("first-run", clock.now - timedelta(days=HISTORY_DAYS + 1))


def test_what_is_adopted_is_done_and_comes_again_when_it_changes(archive: Archive) -> None:
    """By a filter over what the client set; what is claimed, done or not selected is left alone."""
    publish(archive, "a", "b", "c", kind="x")
    publish(archive, "d", kind="y")
    for name in "abd":
        file = archive.client.files.get(name)
        assert file is not None
        file["imported"] = True
        file.save()
    job = archive.client.job("import", where={"kind": "x"})
    (held,) = job.claim()
    adopted = job.adopt(where={"imported": True})
    assert (adopted.named, adopted.adopted, adopted.claimed, adopted.not_selected) == (3, 1, 1, 1)
    job.release(held)
    assert [attempt.status for attempt in job.history(file="b")] == ["adopted"]
    assert [file.unique_value for file in job.pending()] == ["a", "c"]
    publish(archive, "b", kind="x", content_hash="2")
    assert [file.unique_value for file in job.pending()] == ["a", "b", "c"]


def test_who_forgets_goes_on_with_larger_tokens(archive: Archive, tmp_path: Path) -> None:
    """Receipts in the target outlive the ledger: smaller tokens would be refused as a stalled worker's."""
    publish(archive, "a", "b")
    target = {"to": f"sqlite:///{tmp_path}/target.db", "table": "documents"}
    job = archive.client.job("copy", load=target)
    for _ in range(3):
        job.run()
        job.retry(files=["a"])
    job.run()
    before = receipts(tmp_path / "target.db")
    assert job.forget() == 2
    assert job.history() == []
    publish(archive, "a", "b", "c", content_hash="2")
    assert archive.client.job("copy", load=target).run().done == 3
    after = receipts(tmp_path / "target.db")
    assert min(after.values()) > max(before.values())


def receipts(target: Path) -> dict[str, int]:
    connection = sqlite3.connect(target)
    rows = dict(connection.execute("SELECT file, token FROM _mmmeta_receipts").fetchall())
    connection.close()
    return rows


# Check


@pytest.fixture
def checked(archive: Archive, tmp_path: Path) -> Iterator[Metadir]:
    """A client that has downloaded two documents and loaded their rows; everything is as it should be."""
    for name in "ab":
        content = f"document {name}".encode()
        (archive.server_path / f"{name}.txt").write_bytes(content)
        digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        archive.write(name, {"id": name, "content_hash": digest, "_file_name": f"{name}.txt"})
    archive.deliver()
    jobs = {
        "copy": job_config("copy", load={"to": f"sqlite:///{tmp_path}/target.db", "table": "documents"}),
        "other": job_config("other", call={"function": "json:dumps"}),
    }
    with Metadir(archive.client_path, archive.server_path, jobs=jobs) as metadir:
        metadir.job("copy").run()
        metadir.job("other").run(nothing)
        yield metadir


def problems(metadir: Metadir) -> list[tuple[str, str | None]]:
    return [(problem.where, problem.file) for problem in metadir.check().named]


def execute(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_check_finds_nothing_where_all_is_well(checked: Metadir) -> None:
    report = checked.check()
    assert (report.files, report.documents, report.problems) == (2, 2, 0)
    assert report.unchecked == ("other",)


def test_check_finds_a_cell_that_somebody_changed(checked: Metadir) -> None:
    execute(checked.layout.state, "UPDATE files SET _file_name = 'x' WHERE id = 'b'")
    assert problems(checked) == [("state db", "b")]


def test_check_finds_a_row_that_is_missing(checked: Metadir) -> None:
    execute(checked.layout.state, "DELETE FROM files WHERE id = 'b'")
    assert problems(checked) == [("state db", None)]


def test_check_finds_a_count_that_does_not_add_up(checked: Metadir) -> None:
    execute(checked.layout.state, "UPDATE ledger_counts SET files = 7 WHERE job = 'other'")
    assert ("other", None) in problems(checked)


@pytest.mark.parametrize(
    "gone",
    ["DELETE FROM documents WHERE id = 'a'", "UPDATE _mmmeta_receipts SET version = version || 'x' WHERE file = 'a'"],
)
def test_check_finds_what_is_missing_in_the_target(checked: Metadir, tmp_path: Path, gone: str) -> None:
    execute(tmp_path / "target.db", gone)
    assert problems(checked) == [("copy", "a")]


def test_rows_without_receipts_are_somebodys_import_and_count(checked: Metadir, tmp_path: Path) -> None:
    """As after adopting, unless their content is another."""
    execute(tmp_path / "target.db", "DELETE FROM _mmmeta_receipts")
    assert problems(checked) == []
    execute(tmp_path / "target.db", "UPDATE documents SET content_hash = 'x' WHERE id = 'a'")
    assert problems(checked) == [("copy", "a")]


def test_a_target_that_cannot_be_read_is_a_problem_of_its_job(checked: Metadir, tmp_path: Path) -> None:
    """What else there is to check is checked all the same."""
    (tmp_path / "target.db").write_bytes(b"no database at all; " * 100)
    execute(checked.layout.state, "UPDATE ledger_counts SET files = 7 WHERE job = 'other'")
    report = checked.check()
    assert {(problem.where, problem.file) for problem in report.named[:-1]} == {("other", None)}
    assert (report.named[-1].where, report.named[-1].file) == ("copy", None)
    assert report.named[-1].message.startswith("cannot be looked at: ")
    assert "file is not a database" in report.named[-1].message
    assert (report.documents, report.unchecked) == (0, ("other",))


@pytest.mark.parametrize("few", [10_000, 0])
def test_a_sample_of_results(checked: Metadir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    """Out of all names, or, among many, by probing; a sample as large as all is all."""
    monkeypatch.setattr(results, "FEW", few)
    job = checked.job("copy")
    execute(tmp_path / "target.db", "DELETE FROM documents WHERE id = 'a'")
    found = [job.results(sample=1) for _ in range(40)]
    assert {(one.known, one.done, one.looked, one.problem) for one in found} == {(True, 2, 1, None)}
    assert {tuple(one.named) for one in found} == {("a",), ()}
    assert (job.results(sample=2).missing, job.results().missing, job.results(sample=0).looked) == (1, 1, 0)
    assert not checked.job("other").results().known


def test_results_need_a_state_db(archive: Archive) -> None:
    """And make none."""
    archive.deliver()
    for path in archive.client.layout.state.parent.glob("state.db*"):
        path.unlink()
    with Metadir(archive.client_path) as metadir, pytest.raises(StateDbError, match="no state db"):
        metadir.job("copy").results()
    assert not archive.client.layout.state.exists()


def test_check_changes_nothing(checked: Metadir, archive: Archive) -> None:
    checked.check()
    before = local_bytes(archive)
    execute(checked.layout.state, "UPDATE files SET _file_name = 'x' WHERE id = 'b'")
    tampered = local_bytes(archive)
    assert tampered != before
    checked.check()
    assert local_bytes(archive) == tampered
