"""``file.claim.receipt``: an import of one's own happens exactly once, in the transaction of its rows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import Archive
from sql_target import identify_by_id, publish, query
from sqlalchemy import Engine, create_engine

from mmmeta import File
from mmmeta.errors import LoadError
from mmmeta.files.claim import FileClaim, version_of


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """A person's own engine, with a table of their own."""
    query(url, "CREATE TABLE mine (id VARCHAR(20), version VARCHAR(60))")
    made = create_engine(url)
    yield made
    made.dispose()


def claim(
    token: int, version: str = "content 1", *, asked: int = 0, retract: bool = False, job: str = "j"
) -> FileClaim:
    return FileClaim("a", token, 1, retract, asked, job=job, state_id="state", version=version)


def put(engine: Engine, taken: FileClaim) -> bool:
    """What the documentation tells people to write."""
    with engine.begin() as connection:
        if taken.receipt(connection):
            connection.exec_driver_sql(f"INSERT INTO mine VALUES ('{taken.file}', '{taken.version}')")
            return True
    return False


def rows(url: str) -> list[str]:
    return [version for (version,) in query(url, "SELECT version FROM mine ORDER BY version")]


def test_rows_and_receipt_are_one_transaction(url: str, engine: Engine) -> None:
    """A rollback leaves neither, and the next attempt imports."""

    def stumble(taken: FileClaim) -> None:
        with engine.begin() as connection:
            assert taken.receipt(connection)
            connection.exec_driver_sql("INSERT INTO mine VALUES ('a', 'half')")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        stumble(claim(1))
    assert rows(url) == []
    assert put(engine, claim(1))
    assert (rows(url), query(url, "SELECT file, token, version FROM _mmmeta_receipts")) == (
        ["content 1"],
        [("a", 1, "content 1")],
    )


def test_a_stalled_workers_late_commit_is_refused(url: str, engine: Engine) -> None:
    """Its claim is older than the receipt, whatever it holds; another job's receipts are its own."""
    assert put(engine, claim(3, "content 2"))
    assert not put(engine, claim(2, "content 1"))
    assert not put(engine, claim(3, "content 3"))
    assert put(engine, claim(1, "content 1", job="other"))
    assert rows(url) == ["content 1", "content 2"]


def test_what_was_imported_and_not_recorded_is_not_imported_again(url: str, engine: Engine) -> None:
    """The worker died between its commit and the ledger's: the next claim has a larger token and the same version."""
    assert put(engine, claim(1))
    assert not put(engine, claim(3))
    # An older claim of another version wakes up: the receipt is under the newer token by now.
    assert not put(engine, claim(2, "content 0"))
    assert put(engine, claim(4, "content 2"))
    assert put(engine, claim(5))
    assert rows(url) == ["content 1", "content 1", "content 2"]


def test_what_a_person_asks_for_anew_is_imported_again(url: str, engine: Engine) -> None:
    """Once: a crash after that import does not double it either."""
    assert put(engine, claim(1))
    assert put(engine, claim(3, asked=2))
    assert not put(engine, claim(5, asked=2))
    assert rows(url) == ["content 1", "content 1"]


def test_what_was_undone_is_imported_when_it_returns(engine: Engine) -> None:
    """Undoing has a receipt, too; doing so again changes nothing, so it may."""
    assert put(engine, claim(1))
    assert put(engine, claim(3, retract=True))
    assert put(engine, claim(5, retract=True))
    assert not put(engine, claim(4))
    assert put(engine, claim(7))


def test_two_workers_at_the_same_moment(url: str, engine: Engine) -> None:
    """The second waits for the first, and then knows."""
    answers: list[bool] = []
    second = threading.Thread(target=lambda: answers.append(put(engine, claim(3))))
    put(engine, claim(1, "content 0"))
    with engine.begin() as connection:
        assert claim(2).receipt(connection)
        connection.exec_driver_sql("INSERT INTO mine VALUES ('a', 'content 1')")
        second.start()
        second.join(0.2)  # it may have come to where it waits; if not, the outcome is the same
    second.join()
    assert (answers, rows(url)) == ([False], ["content 0", "content 1"])


def test_another_database_takes_no_receipt(tmp_path: Path) -> None:
    """How to fence there is not known, so it is refused."""
    url = f"sqlite:///{tmp_path}/t.db"
    engine = create_engine(url)
    with engine.connect():
        engine.dialect.name = "other"
    with pytest.raises(LoadError, match="other is no database that mmmeta loads into"):
        put(engine, claim(1))
    engine.dispose()


def test_a_database_that_takes_no_receipt(tmp_path: Path) -> None:
    """One clear error that names file and job."""
    query(f"sqlite:///{tmp_path}/t.db", "CREATE TABLE mine (id)")
    engine = create_engine(f"sqlite:///file:{tmp_path}/t.db?mode=ro&uri=true")
    with (
        engine.begin() as connection,
        pytest.raises(LoadError, match=r"receipt of 'a' for job 'j' cannot be written.*read"),
    ):
        claim(1).receipt(connection)
    engine.dispose()


def test_the_version_is_what_makes_a_file_due_again() -> None:
    """Of each rule another one, and never the same for two values or for a number and its text."""
    values = {"content_hash": "1", "a": 1, "b": None}
    assert version_of("never", "content_hash", values, "f") == "never"
    assert version_of("metadata", "content_hash", values, "f") == "metadata f"
    content = version_of("content", "content_hash", values, "f")
    assert content == version_of("content", "content_hash", {**values, "a": 2}, "g")
    assert content != version_of("content", "content_hash", {**values, "content_hash": 1}, "f")
    keys = version_of(["a", "b"], "content_hash", values, "f")
    assert (
        keys == version_of(("b", "a"), "content_hash", {"a": 1}, "f") != version_of(["a"], "content_hash", values, "f")
    )
    assert keys != version_of(["a", "b"], "content_hash", {"a": 1.0}, "f")


def test_in_a_job(archive: Archive, url: str, engine: Engine) -> None:
    """A function and a loop of one's own: each version once; asked for anew, again."""
    identify_by_id(archive)
    publish(archive, {"a": {}, "b": {}})

    def function(file: File) -> None:
        assert file.claim is not None
        put(engine, file.claim)

    job = archive.client.job("import")
    assert job.run(function).done == 2
    publish(archive, {"a": {"content_hash": "2", "title": "new"}, "b": {"title": "new"}})
    assert job.run(function).done == 1
    assert len(rows(url)) == 3
    job.retry(files=["b"])
    for file in job.claim(5):
        function(file)
        function(file)  # the token is spent
        job.done(file)
    assert len(rows(url)) == 4
    job.forget()
    assert job.run(function).done == 2
    assert len(rows(url)) == 6
