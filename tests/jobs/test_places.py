"""Places of documents and rows: undone wherever they were put, one document to a place, the newest version in it."""

from __future__ import annotations

from typing import Any

import pytest
from mirror import Mirror, failures
from sql_target import query

from mmmeta import Job


@pytest.mark.parametrize("change", ["title", "name", "folder", "all of it"])
@pytest.mark.parametrize("again", [True, False])
def test_a_takedown_reaches_every_document_of_a_file(change: str, again: bool, by_id: Mirror) -> None:
    """Under its old names and in its old folders, too, whether it was done anew there or not."""
    by_id.write("a", "first")
    by_id.write("keep")
    by_id.update()
    assert by_id.job().run().done == 2
    title = "other" if change in ("title", "all of it") else "a"
    name = "x/{title}.txt" if change in ("name", "all of it") else "{title}"
    to = "new" if change in ("folder", "all of it") else "target"
    by_id.write("a", "second" if again else "first", title=title)
    by_id.update()
    assert by_id.job(name, to).run().done == again
    by_id.remove("a")
    by_id.update()
    report = by_id.job(name, to).run()
    assert (report.retracted, report.failed) == (1, 0)
    assert {**by_id.there(), **by_id.there("new")} == {"keep": "keep"}


def test_what_cannot_be_removed_is_said_and_not_called_undone(by_id: Mirror) -> None:
    """What can be is; a person mends the rest, and it is tried again."""
    by_id.write("a", "first")
    by_id.update()
    by_id.job().run()
    by_id.write("a", "second", title="new")
    by_id.update()
    by_id.job().run()
    (by_id.target / "a").write_text("edited by hand")
    by_id.remove("a")
    by_id.update()
    job = by_id.job(attempts=1)
    report = job.run()
    assert (report.retracted, list(failures(report))) == (0, ["a"])
    assert f"{by_id.target}/a has another sha1" in failures(report)["a"]
    assert by_id.there() == {"a": "edited by hand"}
    (by_id.target / "a").unlink()
    job.retry(dead=True)
    assert job.run().retracted == 1


def test_a_folder_that_is_away_is_not_undone(by_id: Mirror) -> None:
    """The old one as little as the present one."""
    by_id.write("a", "first")
    by_id.update()
    by_id.job().run()
    by_id.write("a", "second")
    by_id.update()
    by_id.job(to="new").run()
    by_id.remove("a")
    by_id.update()
    by_id.target.rename(by_id.root / "unmounted")
    report = by_id.job(to="new", backoff=0, attempts=1).run()
    assert f"{by_id.target}: the folder is not there" in failures(report)["a"]


def test_a_document_that_nobody_knows_of_is_not_undone(by_id: Mirror) -> None:
    """A loop of somebody's own did it, wherever it has put it."""
    by_id.write("a")
    by_id.update()
    job = by_id.job(attempts=1)
    job.done(*job.claim())
    by_id.remove("a")
    by_id.update()
    assert "nobody knows where its document is" in failures(job.run())["a"]
    assert job.dismiss() == 1


def test_another_action_does_not_undo_what_the_one_before_has_left(by_id: Mirror) -> None:
    """It says where that is."""
    by_id.write("a")
    by_id.update()
    by_id.job().run()
    by_id.remove("a")
    by_id.update()
    seen: list[str] = []
    report = by_id.client.job("j", on_delete="action").run(lambda file: seen.append(file.unique_value))
    assert (seen, report.retracted) == (["a"], 0)
    assert f"still there: a in {by_id.target}" in failures(report)["a"]
    assert by_id.there() == {"a": "a"}


def test_a_version_that_never_came_does_not_hide_the_one_that_did(by_id: Mirror) -> None:
    """Published and deleted before anybody fetched it: the document of the first is removed."""
    by_id.write("a", "first")
    by_id.update()
    by_id.job().run()
    by_id.write("a", "second")
    by_id.update()
    by_id.remove("a")
    by_id.update()
    assert by_id.job().run().retracted == 1
    assert by_id.there() == {}


def test_a_name_that_changes_its_case_only(by_id: Mirror) -> None:
    """Is one place, and on most disks two documents: both are undone."""
    by_id.write("a", "first", title="Report")
    by_id.update()
    by_id.job().run()
    by_id.write("a", "second", title="report")
    by_id.update()
    assert by_id.job().run().done == 1
    by_id.remove("a")
    by_id.update()
    assert by_id.job().run().retracted == 1
    assert by_id.there() == {}


def test_an_old_name_that_another_file_has_by_now(by_id: Mirror) -> None:
    """Its document is not touched."""
    by_id.write("a", "first", title="report")
    by_id.update()
    by_id.job().run()
    by_id.write("a", "second", title="other")
    by_id.update()
    by_id.job().run()
    by_id.write("b", "another", title="report")
    by_id.update()
    assert by_id.job().run().done == 1
    by_id.remove("a")
    by_id.update()
    assert by_id.job().run().retracted == 1
    assert by_id.there() == {"report": "another"}


@pytest.mark.parametrize("change", ["table", "database"])
@pytest.mark.parametrize("again", [True, False])
def test_rows_are_taken_out_of_every_table(change: str, again: bool, by_id: Mirror) -> None:
    """Of another table of the database, and of another file."""
    to, table = ("new.db", "docs") if change == "database" else ("old.db", "documents")

    def load(to: str, table: str) -> Job:
        action = {"to": f"sqlite:///{by_id.root}/{to}", "table": table}
        return by_id.client.job("j", load=action, on_delete="action", attempts=1)

    def rows(to: str, table: str) -> list[Any]:
        return query(f"sqlite:///{by_id.root}/{to}", f"SELECT id FROM {table}")

    by_id.write("a", "first")
    by_id.write("keep")
    by_id.update()
    load("old.db", "docs").run()
    by_id.write("a", "second" if again else "first")
    by_id.update()
    assert load(to, table).run().done == again
    by_id.remove("a")
    by_id.update()
    report = load(to, table).run()
    assert (report.retracted, failures(report)) == (1, {})
    assert rows("old.db", "docs") == [("keep",)]
    if again:
        assert rows(to, table) == []


def test_a_database_that_is_away_is_not_undone(by_id: Mirror) -> None:
    """It is no proof that the row is gone, and no new one is made in its place."""
    by_id.write("a")
    by_id.update()
    load = {"to": f"sqlite:///{by_id.root}/docs.db", "table": "docs"}
    by_id.client.job("j", load=load, on_delete="action").run()
    by_id.remove("a")
    by_id.update()
    (by_id.root / "docs.db").rename(by_id.root / "moved.db")
    report = by_id.client.job("j", load=load, on_delete="action").run()
    assert "the database is not there" in failures(report)["a"]
