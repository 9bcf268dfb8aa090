"""A state's ledger copied into PostgreSQL and back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import Archive, SettableClock
from postgres import connected, emptied_server
from test_copying import copied, end, killed, rows, work

from mmmeta import Metadir
from mmmeta.errors import FormatError, MmmetaError, StateDbError
from mmmeta.state.copying import copy_state

pytestmark = pytest.mark.services


@pytest.fixture
def url() -> str:
    return emptied_server()


@pytest.fixture
def second() -> Iterator[str]:
    """Another schema."""
    yield emptied_server("mmmeta_test_b")
    with connected() as connection:
        connection.execute("DROP SCHEMA mmmeta_test_b CASCADE")


@pytest.fixture
def worked(archive: Archive) -> Archive:
    work(archive)
    return archive


def test_there_and_back(worked: Archive, url: str, tmp_path: Path) -> None:
    """The rows are the same, and jobs go on at either end as if nothing had happened."""
    client = worked.client
    there = copied(client, url)
    with Metadir(worked.client_path, state=url) as other:
        assert other.status().jobs["get"].done == client.status().jobs["get"].done
        assert [vars(one) for one in other.history()] == [vars(one) for one in client.history()]
        assert other.job("get")._bench.state_id == client.job("get")._bench.state_id
    back = copy_state(end(client, url), end(client, tmp_path / "back.db"))
    assert rows(client.layout.state) == rows(tmp_path / "back.db")
    assert there.digests == back.digests
    with Metadir(worked.client_path, state=url) as other:
        seen: list[str] = []
        other.layout.__dict__["files_root"] = worked.server_path
        other.job("fails_again", where={}, attempts=3).run(lambda file: seen.append(file.unique_value))
        assert seen == ["e"]
        down = {"to": str(worked.root / "down"), "name": "{title}.txt"}
        assert other.job("get", download=down, where={}).run().done == 0
        worked.write("f", title="A", _file_name="e.txt")
        worked.publish()
        other.update()
        report = other.job("get", download=down, where={}).run()
        assert (report.done, report.failed) == (0, 1)
        assert [(worked.root / "down" / f"{name}.txt").read_text() for name in "AE"] == ["a", "e"]  # A.txt is a's still
        assert other.files.count() == 5


def test_places_that_were_given_come_back(worked: Archive, url: str, tmp_path: Path) -> None:
    """What was given a place in PostgreSQL has it in a file."""
    with Metadir(worked.client_path, state=url) as other:
        other.layout.__dict__["files_root"] = worked.server_path
        other.job("get", download={"to": str(worked.root / "n"), "name": "{title}.txt"}, where={}).run()
    copy_state(end(worked.client, url), end(worked.client, tmp_path / "back.db"))
    assert [row[0] for row in rows(tmp_path / "back.db")["places"]] == [
        f"{worked.root}/n/{name}.txt" for name in "abce"
    ]


def test_an_own_ledger_without_jobs_takes_it_back(url: str, tmp_path: Path, clock: SettableClock) -> None:
    """The state db of a client whose ledger was in PostgreSQL from the beginning; what was set here is in it already."""
    archive = Archive(tmp_path, client_clock=clock, state=url)
    work(archive)
    there = tmp_path / "other.db"
    copy_state(end(archive.client, url), end(archive.client, there))
    with pytest.raises(StateDbError, match=r"postgresql\+psycopg://.* knows jobs already, and was left untouched"):
        copy_state(end(archive.client, there), end(archive.client, url))
    copy_state(end(archive.client, url), end(archive.client, archive.client.layout.state))
    with Metadir(archive.client_path, clock=clock) as own:
        assert own.status().jobs["get"].done == 5
        assert own.files.get("c")["mark"] == 1  # type: ignore[index]
    archive.close()


@pytest.mark.parametrize("after", [0, 3, 6])
@pytest.mark.parametrize("back", [False, True])
def test_a_killed_copy_is_used_by_nothing_but_the_next(
    back: bool, after: int, worked: Archive, url: str, tmp_path: Path
) -> None:
    """At either end; no password is in what is said of it."""
    client, first = worked.client, worked.client.layout.state
    client.close()
    if back:
        copied(client, url)
    source, there = (with_password(url), tmp_path / "b.db") if back else (first, url)
    assert killed(client, source, there, after)
    with Metadir(worked.client_path, state=there) as other:
        for use in (other.update, other.status, lambda: other.job("get").run(print), other.history):
            if use == other.update and not back:
                continue  # it merges, and asks the ledger nothing
            with pytest.raises(
                StateDbError, match=r"holds a part of a ledger: copying it from .* was broken off"
            ) as caught:
                use()
            assert "s3cret" not in str(caught.value)
    copy_state(end(client, source), end(client, there))
    if not back:
        copy_state(end(client, url), end(client, tmp_path / "b.db"))
    assert rows(first) == rows(tmp_path / "b.db")
    with Metadir(worked.client_path, state=there) as other:
        assert other.status().jobs["get"].done == 5


def with_password(url: str) -> str:
    return url.replace("test@", "test:s3cret@")


def test_a_password_is_nowhere(worked: Archive, url: str, tmp_path: Path) -> None:
    """Neither in the report, nor in an error, nor in what is written."""
    secret = with_password(url)
    report = copied(worked.client, secret)
    assert "s3cret" not in repr(report)
    copy_state(end(worked.client, secret), end(worked.client, tmp_path / "b.db"))
    assert b"s3cret" not in (tmp_path / "b.db").read_bytes()
    for use in (
        lambda: copied(worked.client, secret),
        lambda: copied(worked.client, secret.replace("@/", "@/none_")),
    ):
        with pytest.raises(MmmetaError) as caught:
            use()
        assert "s3cret" not in str(caught.value)


def test_nothing_is_made_by_looking(worked: Archive, url: str, tmp_path: Path) -> None:
    """A rehearsal, and a source that is not there."""
    assert copied(worked.client, url, dry_run=True).rows["ledger"] == 15
    with pytest.raises(StateDbError, match=r"nothing to copy from .*: there is none"):
        copy_state(end(worked.client, url), end(worked.client, tmp_path / "b.db"))
    with connected() as connection:
        assert connection.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'mmmeta_test'").fetchone() == (0,)


def test_somebody_at_work_is_waited_for(worked: Archive, url: str, tmp_path: Path) -> None:
    """Who lives and has claims; whose session is gone holds nothing."""
    copied(worked.client, url)
    with Metadir(worked.client_path, state=url) as other:
        job = other.job("fails_again", where={}, attempts=3)
        assert len(job.claim(1)) == 1
        with pytest.raises(StateDbError, match="at work"):
            copy_state(end(worked.client, url), end(worked.client, tmp_path / "b.db"))
        with connected() as connection:
            connection.execute("UPDATE ledger SET lease_until = 0 WHERE status = 'claimed'")
        job.release_all()


def test_a_newer_format_and_somebody_else_s_schema_are_left_alone(worked: Archive, url: str, tmp_path: Path) -> None:
    """As by everything else."""
    copied(worked.client, url)
    with connected() as connection:
        connection.execute("UPDATE mmmeta_info SET value = '99' WHERE name = 'format'")
    for use in (
        lambda: copied(worked.client, url),
        lambda: copy_state(end(worked.client, url), end(worked.client, tmp_path / "b.db")),
    ):
        with pytest.raises(FormatError, match="format 99, made by a newer mmmeta"):
            use()
    with connected() as connection:
        connection.execute("DROP SCHEMA mmmeta_test CASCADE")
        connection.execute("CREATE SCHEMA mmmeta_test")
        connection.execute("CREATE TABLE mmmeta_test.jobs (job text)")
    with pytest.raises(StateDbError, match=r"other tables in it \(jobs\) and was left untouched"):
        copied(worked.client, url)


def test_a_server_that_goes_away_leaves_it_incomplete(worked: Archive, url: str) -> None:
    """In one line; the next copy goes through."""

    def cut(what: str, done: int, total: int | None) -> None:
        if what == "copying places":
            with connected() as connection:
                connection.execute("ALTER TABLE attempts RENAME TO other")

    with pytest.raises(StateDbError, match="attempts") as caught:
        copied(worked.client, url, progress=cut)
    assert "\n" not in str(caught.value)
    with pytest.raises(StateDbError, match="broken off"):
        Metadir(worked.client_path, state=url).status()
    with connected() as connection:
        connection.execute("ALTER TABLE other RENAME TO attempts")
    copied(worked.client, url)


def test_from_one_schema_to_another(worked: Archive, url: str, second: str, tmp_path: Path) -> None:
    """As when a database moves to another server."""
    copied(worked.client, url)
    copy_state(end(worked.client, url), end(worked.client, second))
    copy_state(end(worked.client, second), end(worked.client, tmp_path / "b.db"))
    assert rows(tmp_path / "b.db") == rows(worked.client.layout.state)


def test_an_older_client_is_told_to_sync(worked: Archive, url: str, tmp_path: Path) -> None:
    """The ledger remembers of which revision its files are."""
    older = tmp_path / "older"
    shutil.copytree(worked.client_path, older, ignore=shutil.ignore_patterns("local"))
    worked.write("g")
    worked.deliver()
    worked.client.job("fails_again", where={}, attempts=3).evaluate()
    copied(worked.client, url)
    with Metadir(older, state=url) as behind:
        behind.update()
        with pytest.raises(StateDbError, match="has heard of revision"):
            behind.job("fails_again", where={}, attempts=3).run(lambda file: None)


def test_names_that_do_not_fit_are_left_out(archive: Archive, url: str, tmp_path: Path) -> None:
    """Named and counted, and the others go along."""
    long = "x" * 2_001
    archive.write("a")
    archive.write("long", content_hash=long)
    archive.deliver()
    archive.client.job("job").run(lambda file: None)
    report = copied(archive.client, url)
    assert (report.left_out, report.such_as, report.rows["ledger"], report.rows["attempts"]) == (1, [long], 1, 1)
    copy_state(end(archive.client, url), end(archive.client, tmp_path / "b.db"))
    with Metadir(archive.client_path, state=tmp_path / "b.db") as back:
        assert back.status().jobs["job"].done == 1


def test_what_was_set_goes_along_and_older_copies_follow(
    archive: Archive, url: str, tmp_path: Path, second: str
) -> None:
    """A state db that has a copy of what was set finds the newer values, although the ledger has the id that it knows."""
    archive.write("a")
    archive.deliver()

    def mark(state: str | Path, value: int) -> None:
        with Metadir(archive.client_path, state=state) as client:
            client.update()
            file = client.files.get("a")
            assert file is not None
            file["mark"] = value
            file.save()
            client.job("job").run(lambda file: None)

    for value in (1, 2, 3):
        mark(url, value)
    there = tmp_path / "b.db"
    assert copy_state(end(archive.client, url), end(archive.client, there)).rows["own_values"] == 1
    mark(there, 4)
    copy_state(end(archive.client, there), end(archive.client, second))
    for state in (there, second):
        with Metadir(archive.client_path, state=state) as client:
            client.update()
            client.job("job").evaluate()
            assert client.files.get("a")["mark"] == 4  # type: ignore[index]
