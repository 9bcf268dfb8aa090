"""A ledger in PostgreSQL whose clients, remote or server were put back from a backup, or copied."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from archives import Archive, SettableClock, copy_metadir
from postgres import emptied_server, query

from mmmeta import Metadir

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
