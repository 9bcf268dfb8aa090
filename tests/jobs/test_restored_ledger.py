"""A state db that was put back is older than what its targets hold: nobody is dead of it, nothing is doubled or lost."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from archives import Archive
from sql_target import publish, query
from sqlalchemy import create_engine

from mmmeta import File, Job
from mmmeta.state.backup import back_up, restore


@pytest.fixture
def archive(archive_by_id: Archive) -> Archive:
    """Identity and content apart."""
    return archive_by_id


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return tmp_path / "copy.db"


def load(archive: Archive, url: str, **options: Any) -> Job:
    return archive.client.job(
        "import", load={"to": url, "table": "documents", **options}, attempts=1, on_delete="action"
    )


def put_back(archive: Archive, copy: Path) -> None:
    """As an operator does it, with the machine's own copy."""
    archive.client.close()
    state = archive.client.layout.state
    for suffix in ("-wal", "-shm"):
        state.with_name(state.name + suffix).unlink(missing_ok=True)
    shutil.copy(copy, state)


def ids(url: str) -> list[tuple[Any, ...]]:
    return sorted(query(url, "SELECT id, title FROM documents"))


@pytest.mark.parametrize("mode", ["upsert", "append"])
def test_what_the_target_has_counts_and_the_rest_is_due(archive: Archive, url: str, copy: Path, mode: str) -> None:
    """Files in their present version are done without another row, newer ones are written; it is said, and then over."""
    publish(archive, {"a": {"title": "A"}, "b": {"title": "B"}, "c": {"title": "C"}})
    archive.client.job("import")  # a state db that knows no job yet
    back_up(archive.client.layout.state, copy)
    assert load(archive, url, mode=mode).run().done == 3
    publish(archive, {"b": {"title": "B2"}, "d": {"title": "D"}})
    assert load(archive, url, mode=mode).run().done == 2
    put_back(archive, copy)
    archive.client.update()
    publish(archive, {"c": {"title": "C2"}, "e": {"title": "E"}})
    report = load(archive, url, mode=mode).run()
    assert (report.done, report.failed, report.dead, report.lost, report.behind) == (5, 0, 0, 0, 4)
    assert "older than what was loaded" in (report.behind_words or "")
    rows = [("a", "A"), ("b", "B2"), ("c", "C2"), ("d", "D"), ("e", "E")]
    assert ids(url) == (rows if mode == "upsert" else sorted([*rows, ("b", "B"), ("c", "C")]))
    again = load(archive, url, mode=mode).run()
    assert (again.attempted, again.behind_words) == (0, None)
    assert load(archive, url).results().missing == 0
    publish(archive, {"a": {"title": "A3"}})
    after = load(archive, url, mode=mode).run()
    assert (after.done, after.behind) == (1, 0)


def test_a_copy_in_the_middle_of_the_work(archive: Archive, url: str, copy: Path) -> None:
    """Done files stay done, claimed and failed ones find their receipts."""
    publish(archive, {name: {"title": name} for name in "abcdef"})
    job = load(archive, url)
    job.run(limit=2)
    held = job.claim(2)
    back_up(archive.client.layout.state, copy)
    job.release(*held)
    assert job.run().done == 4
    put_back(archive, copy)
    with archive.client._backend.state.database.atomic() as connection:
        connection.execute(
            "UPDATE ledger SET lease_until = 0"
        )  # a worker whose lock is not there any more has its lease
    report = load(archive, url).run()
    assert (report.done, report.failed + report.dead) == (4, 0)
    assert len(ids(url)) == 6
    assert load(archive, url).status().done == 6


def test_what_a_person_asks_for_anew_is_done_anew(archive: Archive, url: str, copy: Path) -> None:
    """Also where the receipt is of this very version."""
    publish(archive, {"a": {"title": "A"}})
    job = load(archive, url)
    job.run()
    back_up(archive.client.layout.state, copy)
    for _ in range(3):
        job.retry(files=["a"])
        assert job.run().done == 1
    put_back(archive, copy)
    query(url, "DELETE FROM documents")
    job = load(archive, url)
    job.retry(files=["a"])
    assert job.run().done == 1
    assert ids(url) == [("a", "A")]


def test_what_was_removed_meanwhile(archive: Archive, url: str, copy: Path) -> None:
    """Undone is undone; and a file that came back is written again."""
    publish(archive, {"a": {"title": "A"}, "b": {"title": "B"}})
    load(archive, url).run()
    back_up(archive.client.layout.state, copy)
    for name in "ab":
        archive.remove(name)
    archive.publish(ensure=True, allow_mass_delete=True)
    archive.client.update()
    assert load(archive, url).run().retracted == 2
    put_back(archive, copy)
    publish(archive, {"b": {"title": "B"}})
    archive.client.update()
    report = load(archive, url).run()
    assert (report.failed, report.dead) == (0, 0)
    assert ids(url) == [("b", "B")]
    assert load(archive, url).run().attempted == 0


def test_an_import_of_ones_own_loses_no_newer_version(archive: Archive, url: str, copy: Path) -> None:
    """``receipt()`` says no to a restored ledger's small token; the file is not called done for that."""
    publish(archive, {"a": {"title": "A"}, "b": {"title": "B"}})
    engine = create_engine(url)
    wrote: list[str] = []

    def work(file: File) -> None:
        assert file.claim is not None
        with engine.begin() as connection:
            if file.claim.receipt(connection):
                wrote.append(f"{file['title']}")

    def job() -> Job:
        return archive.client.job("own", rerun_on="metadata")

    back_up(archive.client.layout.state, copy)
    job().run(work)
    assert sorted(wrote) == ["A", "B"]
    put_back(archive, copy)
    publish(archive, {"b": {"title": "B2"}})
    report = job().run(work)
    assert (report.done, report.behind, sorted(wrote)) == (2, 1, ["A", "B", "B2"])
    publish(archive, {"a": {"title": "A3"}})
    (held,) = job().claim(1)
    work(held)
    assert wrote[-1] == "A3"
    engine.dispose()


def test_a_loop_of_ones_own_hears_that_a_file_comes_again(archive: Archive, url: str, copy: Path) -> None:
    """``done`` says ``pending`` for a file that the receipt of an older version kept from being written."""
    publish(archive, {"a": {"title": "A"}})
    back_up(archive.client.layout.state, copy)
    job = archive.client.job("own", rerun_on="metadata")
    engine = create_engine(url)
    for title, status in (("A", "done"), ("B", "pending"), ("B", "done")):
        publish(archive, {"a": {"title": title}})
        (file,) = job.claim(1)
        assert file.claim is not None
        with engine.begin() as connection:
            assert file.claim.receipt(connection) == (status == "done")
        assert job.done(file) == [status]
        if title == "A":
            job.release_all()
            put_back(archive, copy)
            job = archive.client.job("own", rerun_on="metadata")
    engine.dispose()


def test_restore_and_run(archive: Archive, url: str, copy: Path) -> None:
    """With mmmeta's own copy, put back into the file that others have open."""
    publish(archive, {"a": {"title": "A"}})
    back_up(archive.client.layout.state, copy)
    assert load(archive, url).run().done == 1
    restore(copy, archive.client.layout)
    assert load(archive, url).status().done == 0
    assert load(archive, url).run().behind == 1
