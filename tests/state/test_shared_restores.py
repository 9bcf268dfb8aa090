"""A ledger in PostgreSQL whose clients, remote or server were put back from a backup, or copied."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from archives import Archive, SettableClock, copy_metadir
from postgres import emptied_server, query

from mmmeta import Metadir
from mmmeta.errors import MassDeletionError, StaleMetadataError, StateDbError

pytestmark = pytest.mark.services

Client = Callable[..., Metadir]


@pytest.fixture
def url() -> str:
    return emptied_server()


@pytest.fixture
def archive(url: str, tmp_path: Path, clock: SettableClock) -> Iterator[Archive]:
    made = Archive(tmp_path, client_clock=clock, state=url)
    yield made
    made.close()


@pytest.fixture
def client(archive: Archive, url: str, tmp_path: Path, clock: SettableClock) -> Iterator[Client]:
    """Makes another client of the same remote and ledger."""
    made: list[Metadir] = []

    def make(name: str, local: Path | None = None) -> Metadir:
        path = tmp_path / name
        copy_metadir(archive.server_path, path)
        if local is not None:
            shutil.copytree(local, path / "_mmmeta" / "local")
        made.append(Metadir(path, clock=clock, state=url))
        return made[-1]

    yield make
    for one in made:
        one.close()


def done(client: Metadir) -> list[str]:
    """What a run of the job does."""
    seen: list[str] = []
    client.job("job").run(lambda file: seen.append(file.unique_value))
    return sorted(seen)


def published(archive: Archive, *names: str, **keys: object) -> None:
    for name in names:
        archive.write(name, keys)
    archive.publish()


def updated(archive: Archive, client: Metadir) -> Metadir:
    """A client after a sync and an update."""
    copy_metadir(archive.server_path, client.layout.base)
    client.update()
    return client


# The client's cache


def backup_of_local(archive: Archive, tmp_path: Path) -> Path:
    archive.client.close()
    return Path(shutil.copytree(archive.client.layout.local, tmp_path / "backup"))


def restored(archive: Archive, backup: Path) -> None:
    archive.client.close()
    shutil.rmtree(archive.client.layout.local)
    shutil.copytree(backup, archive.client.layout.local)


def test_a_cache_that_was_put_back_tells_everything(archive: Archive, tmp_path: Path) -> None:
    """Once, whatever revision it is at by then; from then on what changed only."""
    archive.write("a")
    archive.deliver()
    assert done(archive.client) == ["a"]
    backup = backup_of_local(archive, tmp_path)
    for name in "bcd":
        archive.write(name)
        archive.deliver()
        assert done(archive.client) == [name]
    restored(archive, backup)
    archive.write("e")
    archive.deliver()
    assert archive.client.status().jobs["job"].evaluated == 0
    assert done(archive.client) == ["e"]
    archive.write("f")
    archive.deliver()
    assert done(archive.client) == ["f"]


def test_a_cache_that_was_put_back_and_has_nothing_new_tells_what_it_missed(archive: Archive, tmp_path: Path) -> None:
    """What it merged before was never told by it, and may have been by another."""
    archive.write("a")
    archive.deliver()
    assert done(archive.client) == ["a"]
    backup = backup_of_local(archive, tmp_path)
    archive.write("a", content_hash="a", title="other")
    archive.write("b")
    archive.deliver()
    restored(archive, backup)
    archive.client.update()
    assert done(archive.client) == ["b"]


def test_two_caches_that_were_copied_from_each_other_tell_each_what_it_has(
    archive: Archive, client: Client, tmp_path: Path
) -> None:
    """In turns; after the first time each tells what changed only."""
    archive.write("a")
    archive.deliver()
    assert done(archive.client) == ["a"]
    clone = client("clone", backup_of_local(archive, tmp_path))
    for name in "bc":
        archive.write(name)
        archive.deliver()
        assert done(archive.client) == [name]
    for name in "ef":
        published(archive, name)
        assert done(updated(archive, clone)) == [name]
        published(archive, f"{name}2")
        assert done(updated(archive, archive.client)) == [f"{name}2"]
    assert len({client.status().state_id for client in (clone, archive.client)}) == 2
    assert len(query(clone, "SELECT cache FROM followed WHERE job = 'job'")) == 2


# The remote


def remote_backup(archive: Archive, tmp_path: Path) -> Path:
    archive.server.close()
    return Path(shutil.copytree(archive.server_path, tmp_path / "remote"))


def remote_restored(archive: Archive, backup: Path) -> None:
    archive.server.close()
    shutil.rmtree(archive.server_path)
    shutil.copytree(backup, archive.server_path)


def test_a_remote_that_went_back_is_gone_back_with_where_a_person_says_so(
    archive: Archive, client: Client, tmp_path: Path
) -> None:
    """What counts is what it says now, for all jobs; who still has the newer one is told, and goes on after an update."""
    archive.write("a", title="old")
    archive.deliver()
    assert done(archive.client) == ["a"]
    backup = remote_backup(archive, tmp_path)
    archive.write("a", content_hash="a", title="new")
    archive.write("b")
    archive.deliver()
    archive.write("c")
    archive.deliver()
    other = updated(archive, client("other"))
    assert done(archive.client) == ["b", "c"]
    assert done(other) == []
    remote_restored(archive, backup)
    published(archive, "x")
    with pytest.raises(StaleMetadataError):
        archive.client.update()
    archive.client.update(accept_older=True)
    assert done(archive.client) == ["x"]
    with pytest.raises(
        StateDbError, match=r"went back .* revision 3 of before: sync and run .*--accept-older"
    ) as caught:
        done(other)
    assert "\n" not in str(caught.value)
    copy_metadir(archive.server_path, other.layout.base)
    other.update(accept_older=True)
    assert done(other) == []
    for name, one in (("y", archive.client), ("z", other), ("w", archive.client)):
        published(archive, name)
        assert done(updated(archive, one)) == [name]
    assert done(updated(archive, other)) == []
    # Who took it back once does not take it back again from others that have gone on.
    archive.write("v")
    archive.server.generate()
    updated(archive, other).job("job").evaluate()
    with pytest.raises(StateDbError, match=r"has heard of revision 6"):
        done(archive.client)


def test_a_metadata_db_that_comes_back_is_followed_again(archive: Archive, client: Client, tmp_path: Path) -> None:
    """By a client that has merged one after the other; as with a state in a file, nobody has to say so."""
    for name in "abc":
        archive.write(name)
    archive.deliver()
    assert done(archive.client) == ["a", "b", "c"]
    backup = remote_backup(archive, tmp_path)
    shutil.rmtree(archive.server_path / "_mmmeta")
    published(archive, "d")
    assert done(updated(archive, archive.client)) == ["d"]
    other = updated(archive, client("other"))
    assert done(other) == []
    remote_restored(archive, backup)
    published(archive, "e")
    assert done(updated(archive, archive.client)) == ["e"]
    with pytest.raises(StateDbError, match=r"follows another metadata db by now .*--accept-older"):
        done(other)
    assert done(updated(archive, other)) == []
    published(archive, "f")
    assert done(updated(archive, other)) == ["f"]


# Another metadata db, and a client whose cache is new


def test_a_new_cache_tells_of_deletions_that_the_ledger_missed(
    archive: Archive, client: Client, tmp_path: Path
) -> None:
    """The metadata db was made anew without files that the ledger has: they are gone, whoever tells it."""
    for name in "abcde":
        archive.write(name)
    archive.deliver()
    rules = {"on_delete": "action"}
    archive.client.job("job", **rules).run(lambda file: None, limit=2)
    archive.remove("a")
    archive.remove("d")
    shutil.rmtree(archive.server_path / "_mmmeta")
    archive.server.close()
    archive.publish()
    fresh = client("fresh")
    fresh.job("job", **rules).evaluate()
    found = query(fresh, "SELECT file, status, retract, deleted FROM ledger ORDER BY file")
    assert found == [
        ("a", "pending", True, True),
        ("b", "done", False, False),
        ("c", "pending", False, False),
        ("d", "skipped", False, True),
        ("e", "pending", False, False),
    ]
    report = fresh.job("job", **rules).run(lambda file: None)
    assert (report.done, report.failed) == (2, 0)
    assert query(fresh, "SELECT count(*) FROM ledger WHERE retract OR status = 'pending'") == [(0,)]
    published(archive, "d")
    updated(archive, fresh).job("job", **rules).evaluate()
    assert query(fresh, "SELECT status, deleted FROM ledger WHERE file = 'd'") == [("pending", False)]


def test_another_archive_is_refused_before_it_tells_anything(archive: Archive, url: str, tmp_path: Path) -> None:
    """Whatever jobs and values it has; told so on purpose, it takes the ledger over."""
    for name in "abc":
        archive.write(name)
    archive.deliver()
    assert done(archive.client) == ["a", "b", "c"]
    before = [query(archive.client, f"SELECT * FROM {table}") for table in ("ledger", "jobs", "own_values", "followed")]
    another = Archive(tmp_path / "another", state=url)
    another.write("x")
    another.publish()
    for ask in (
        another.client.update,
        another.client.update,
        lambda: done(another.client),
        lambda: another.client.job("other").evaluate(),
    ):
        with pytest.raises(
            MassDeletionError, match=r"3 of the 3 files in it .* schema of its own .*\?schema=name"
        ) as caught:
            ask()
        assert "\n" not in str(caught.value)
    assert before == [
        query(archive.client, f"SELECT * FROM {table}") for table in ("ledger", "jobs", "own_values", "followed")
    ]
    assert done(archive.client) == []
    another.client.update(allow_mass_delete=True)
    assert done(another.client) == ["x"]
    with pytest.raises(StateDbError, match=r"follows another metadata db by now .*\?schema=name"):
        done(archive.client)
    another.close()
