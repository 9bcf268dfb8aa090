"""Jobs of a project file: keys they ask for, what an update evaluates, status.json, runs for some files only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from archives import Archive, SettableClock, deliver, fail_b, nothing

from mmmeta import File, Metadir, load_project, read_status
from mmmeta.errors import UnknownKeyError, UnknownKeyWarning


def project(archive: Archive, text: str) -> Metadir:
    path = archive.root / "mmmeta.yaml"
    path.write_text(f"version: 1\nmetadirs:\n  archive:\n    path: ./client\n    jobs:\n{text}")
    return Metadir.from_config(load_project(path).metadirs["archive"])


def test_a_project_job_with_an_unknown_key(archive: Archive) -> None:
    """An error with the near misses where there are files; with none, nothing can be said."""
    archive.server.generate()
    archive.sync()
    jobs = "      imp:\n        where: {document_typ: contract}\n        call: {function: 'builtins:print'}\n"
    with project(archive, jobs) as client:
        client.update()
        assert client.job("imp").run().done == 0
        deliver(archive, "a", document_type="contract")
        with pytest.raises(UnknownKeyError, match=r"'document_typ'.*'document_type'"):
            client.job("imp").run()
        with pytest.raises(Exception, match=r"'impp'.*'imp'"):
            client.job("impp")
        assert client.job("python", where={"document_typ": "contract"}).run(nothing).done == 0


@pytest.mark.parametrize(
    ("rule", "value"), [("order_by", "-pagse"), ("rerun_on", ["pagse"]), ("rerun_on", ["pages", "pagse"])]
)
def test_an_order_or_rerun_on_by_a_key_that_no_file_has(rule: str, value: Any, archive: Archive) -> None:
    """An error for a job of the project file, said once for one made in Python."""
    deliver(archive, "a", pages=3)
    with project(archive, f"      imp: {{{rule}: {value}, call: {{function: 'builtins:print'}}}}\n") as client:
        with pytest.raises(UnknownKeyError, match=rf"'pagse'\. Did you mean 'pages'\? Mend `{rule}` in"):
            client.job("imp").run()
        assert "pagse" in (client.job("imp").problem() or "")
        job = client.job("python", **{rule: value})
        with pytest.warns(UnknownKeyWarning, match=f"'pagse'.*'pages'.*`{rule}`"):
            assert job.plan().files == 1
        assert job.run(nothing).done == 1


@pytest.mark.parametrize("flag", [True, False])
def test_adopting_by_a_key_that_no_file_has(flag: bool, archive: Archive) -> None:
    """False would be all files, True none: a mistyped key adopts nothing and is named."""
    deliver(archive, "a", imported=True)
    job = archive.client.job("import")
    with pytest.raises(UnknownKeyError, match=r"'importd': nothing was adopted\. Did you mean 'imported'\?"):
        job.adopt(where={"importd": flag})
    assert job.status().pending == 1


def test_an_update_evaluates_the_project_jobs(archive: Archive) -> None:
    """So that status.json tells the sensor of due work right after it."""
    jobs = "      imp:\n        where: {kind: x}\n        call: {function: 'builtins:len'}\n"
    archive.write("a", kind="x")
    archive.write("b", kind="y")
    archive.publish()
    with project(archive, jobs) as client:
        client.update()
        status = read_status(client.layout.status)
        assert status is not None
        assert (status.jobs["imp"].pending, status.jobs["imp"].due) == (1, 1)


# status.json


def test_status_json_follows(archive: Archive, clock: SettableClock) -> None:
    """After every run and retry it says what the ledger says."""
    archive.write("a")
    archive.write("b")
    archive.write("c")
    archive.publish()
    client = Metadir(archive.client_path, clock=clock)
    client.update()
    job = client.job("import", attempts=2, backoff="1m")
    job.run(fail_b, run_id="r1", limit=2)
    written = read_status(client.layout.status)
    assert written is not None
    there = written.jobs["import"]
    assert there == job.status()
    assert (there.pending, there.done, there.failed, there.due, there.run_id) == (1, 1, 1, 1, "r1")
    assert there.earliest_due is not None
    assert there.fingerprint == job.config.fingerprint()
    assert (there.heartbeat, there.lease_until) == (clock.now, None)
    assert job.retry() == 1
    written = read_status(client.layout.status)
    assert written is not None
    assert (written.jobs["import"].pending, written.jobs["import"].failed) == (2, 0)
    client.close()


def test_status_json_while_a_run_is_at_work(archive: Archive) -> None:
    """Claims and their end are seen from outside."""
    deliver(archive, *"ab")
    seen: list[Any] = []
    job = archive.client.job("import")
    job.run(lambda file: seen.append(archive.client.status().jobs["import"]), run_id="r")
    assert (seen[0].claimed, seen[0].run_id, seen[0].pending) == (2, "r", 0)
    assert seen[0].heartbeat is not None
    assert seen[0].lease_until > seen[0].heartbeat


def test_a_job_before_the_first_update(archive: Archive) -> None:
    """Running merges first; asking for failures of a job that never ran is an empty list."""
    archive.write("a")
    archive.publish()
    assert archive.client.job("import").files() == []
    assert archive.client.job("import").run(nothing).done == 1


def test_a_selection_by_a_key_that_nobody_has_yet(archive: Archive) -> None:
    """Absent counts as False from the first day; find says so with a warning, a job by its files."""
    deliver(archive, "a")
    assert archive.client.job("import", where={"imported": False}).run(nothing).done == 1
    with pytest.warns(UnknownKeyWarning):
        assert archive.client.files.count(imported=False) == 1


def test_a_run_for_some_files_leaves_the_others_pending(archive: Archive) -> None:
    """Also a file that killed a worker, which comes alone, does not keep the rest of the run from its turn."""
    deliver(archive, *"abcde", kind="wanted")
    deliver(archive, *"xyz", kind="other")
    job = archive.client.job("some", batch_size=2)
    seen: list[str] = []
    report = job.run(lambda file: seen.append(file.unique_value), only={"kind": "wanted"})
    assert (sorted(seen), report.done, report.pending) == (list("abcde"), 5, 3)
    assert job.run(nothing, only={"kind": "wanted"}).attempted == 0
    with archive.client._backend.state.database.atomic() as connection:
        connection.execute("UPDATE ledger SET error_type = 'WorkerDied' WHERE file = 'y'")
    assert job.run(nothing, only={"kind": "other"}).done == 3


def test_a_run_for_some_files_keeps_its_limit(archive: Archive) -> None:
    deliver(archive, *"abcde", kind="wanted")
    job = archive.client.job("some", batch_size=2)
    assert job.run(nothing, only={"kind": "wanted"}, limit=3).done == 3
    assert job.run(nothing, only={"kind": "wanted"}).done == 2


def test_a_mistyped_key_of_a_run_for_some_files_is_an_error(archive: Archive) -> None:
    """Absent counts as False: by such a filter everything could be done again. Where there are no files nobody can tell."""
    archive.deliver()
    job = archive.client.job("some")
    assert job.run(nothing, only={"knid": False}).attempted == 0
    deliver(archive, *"ab", kind="wanted")
    calls: list[Callable[[], object]] = [
        lambda: job.run(nothing, only={"knid": "wanted"}),
        lambda: job.run(nothing, only={"$any": [{"kind": "wanted"}, {"knid": False}]}),
        lambda: job.due({"knid": False}),
        lambda: job.retry(done=True, only={"knid": False}),
    ]
    for call in calls:
        with pytest.raises(UnknownKeyError, match=r"no file has the key 'knid', .*only.* Did you mean 'kind'\?"):
            call()
    assert job.status().pending == 2


def test_news_that_arrive_in_the_middle_of_a_run_do_not_disturb_it(archive: Archive) -> None:
    """What is recorded does not stumble over the warning that metadata was not merged yet."""
    deliver(archive, "a", "b")
    seen: list[str] = []

    def work(file: File) -> None:
        seen.append(file.unique_value)
        archive.write(f"news{len(seen)}")
        archive.publish()

    report = archive.client.job("import", batch_size=1).run(work)
    assert (report.done, seen) == (2, ["a", "b"])


def test_a_run_for_one_of_several_values_leaves_other_jobs_alone(archive: Archive) -> None:
    """A filter with OR in it is one condition among others; what is done is not asked for again and again."""
    deliver(archive, *"abc", kind="x")
    deliver(archive, *"de", kind="y")
    job = archive.client.job("some", batch_size=1)
    job.run(nothing, limit=3)
    archive.client.job("other").run(nothing)
    assert job.run(nothing, only={"kind": ["x", "y"]}).done == 2
    assert job.run(nothing, only={"$any": [{"kind": "x"}, {"kind": "y"}]}).attempted == 0


def test_why_is_right_about_one_of_several_values(archive: Archive) -> None:
    deliver(archive, "a", kind="x")
    deliver(archive, "b", kind="z")
    job = archive.client.job("some", where={"kind": ["x", "y"]})
    assert (job.why("a").selected, job.why("b").selected) == (True, False)


def test_a_report_counts_what_an_update_selected_before_the_run(tmp_path: Path) -> None:
    """`selected` is what the run found to do, whoever selected it: newly, left by a limit, or due again."""
    (tmp_path / "mmmeta.yaml").write_text(
        "version: 1\nmetadirs: {a: {path: ., jobs: {j: {call: {function: 'os.path:basename'}}}}}"
    )
    config = load_project(tmp_path / "mmmeta.yaml").metadirs["a"]
    with Metadir(tmp_path, jobs=config.jobs) as m:
        m.files.insert_many([{"content_hash": name} for name in "abc"])
        m.update()
        first = m.job("j").run(nothing, limit=2)
        assert (first.selected, first.attempted, first.pending) == (3, 2, 1)
        second = m.job("j").run(nothing)
        assert (second.selected, second.attempted) == (1, 1)
        third = m.job("j").run(nothing)
        assert (third.selected, third.attempted) == (0, 0)
