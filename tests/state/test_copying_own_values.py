"""What was set (``file.save()``) goes along when a state is copied into PostgreSQL and back, whatever file it was in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from archives import Archive
from postgres import connected, emptied_server
from test_copying import end, work

from mmmeta import Metadir
from mmmeta.errors import StateDbError
from mmmeta.state.copying import copy_state

pytestmark = pytest.mark.services

LONG = "x" * 2_001
"""A name that PostgreSQL cannot keep."""


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
def archive(tmp_path: Path) -> Iterator[Archive]:
    """One whose state db is not where it is by default."""
    made = Archive(tmp_path, state=tmp_path / "mine.db")
    yield made
    made.close()


def put(client: Metadir, name: str, **values: Any) -> None:
    file = client.files.get(name)
    assert file is not None
    file.update(values)
    file.save()


def take_back(client: Metadir, name: str, key: str) -> None:
    file = client.files.get(name)
    assert file is not None
    del file[key]
    file.save()


def own(client: Metadir, name: str) -> dict[str, Any]:
    file = client.files.get(name)
    assert file is not None
    return dict(file.local)


@pytest.mark.parametrize("after_update", [False, True])
def test_from_any_file_and_without_the_cache(after_update: bool, archive: Archive, url: str, tmp_path: Path) -> None:
    """A state db that ``state:`` has named; the one of the metadir may be deleted before and after the first update."""
    work(archive)
    expected = own(archive.client, "c")
    assert expected["mark"] == 1
    copy_state(archive.client.layout, end(archive.client, url))
    with Metadir(archive.client_path, state=url) as other:
        if after_update:
            other.update()
            assert own(other, "c") == expected
    local = archive.client_path / "_mmmeta" / "local"
    shutil.rmtree(local, ignore_errors=True)
    with Metadir(archive.client_path, state=url) as other:
        other.update()
        assert own(other, "c") == expected
    shutil.rmtree(local)
    back = tmp_path / "back.db"
    copy_state(end(archive.client, url), end(archive.client, back))
    with Metadir(archive.client_path, state=back) as other:
        assert own(other, "c") == expected


def test_where_no_job_is_known_yet(archive: Archive, url: str, tmp_path: Path) -> None:
    """There and back; where nothing was set either there is nothing to copy."""
    archive.write("a")
    archive.deliver()
    with pytest.raises(
        StateDbError, match=r"nothing to copy from .*mine\.db: it knows no job, and nothing was set there"
    ):
        copy_state(archive.client.layout, end(archive.client, url))
    put(archive.client, "a", note="x")
    assert copy_state(archive.client.layout, end(archive.client, url)).rows["own_values"] == 1
    with pytest.raises(StateDbError, match="has values that were set there, and was left untouched"):
        copy_state(archive.client.layout, end(archive.client, url))
    with Metadir(archive.client_path, state=url) as other:
        other.update()
        assert own(other, "a") == {"note": "x"}
        put(other, "a", later=1)
        copy_state(end(other, url), end(other, tmp_path / "back.db"))
        copy_state(end(other, url), end(other, other.layout.state))  # that one is a copy of it
    for state in (tmp_path / "back.db", None):
        with Metadir(archive.client_path, state=state) as back:
            assert own(back, "a") == {"note": "x", "later": 1}


def test_a_key_that_does_not_fit_with_its_file_is_left_out_alone(archive: Archive, url: str) -> None:
    """The file is named, a dry run counts it as well, and what else was set goes along."""
    name, key = os.urandom(995).hex(), os.urandom(450).hex()
    archive.write("odd", content_hash=name)
    archive.deliver()
    archive.client.job("job").evaluate()
    put(archive.client, name, **{key: 1, "note": "x"})
    for dry_run in (True, False):
        report = copy_state(archive.client.layout, end(archive.client, url), dry_run=dry_run)
        assert (report.left_out, report.such_as, report.rows["own_values"]) == (1, [name], 1)
    with Metadir(archive.client_path, state=url) as client:
        client.update()
        assert client.job("job").due() == 1
    with connected() as connection:
        assert connection.execute("SELECT key FROM own_values").fetchall() == [("note",)]


@pytest.mark.parametrize("by_a_file", [False, True])
def test_what_was_taken_back_stays_so(by_a_file: bool, archive: Archive, url: str, second: str, tmp_path: Path) -> None:
    """A state db that missed it, because the ledger moved meanwhile, does not keep it; what was never shared stays there."""
    archive.write("a")
    archive.write("b")
    archive.write("long", content_hash=LONG)
    archive.deliver()
    put(archive.client, "a", flag=1, kept=1)
    put(archive.client, "b", flag=1)
    archive.client.job("job").evaluate()
    copy_state(archive.client.layout, end(archive.client, url))
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(archive.client_path, elsewhere, ignore=shutil.ignore_patterns("local"))
    with Metadir(elsewhere) as client:
        client.update()
        put(client, LONG, note="here only")
    for path in (archive.client_path, elsewhere):
        with Metadir(path, state=url) as client:
            client.update()
            assert own(client, "b") == {"flag": 1}
    if by_a_file:
        moved = tmp_path / "between.db"
        copy_state(end(archive.client, url), end(archive.client, moved))
    with Metadir(archive.client_path, state=moved if by_a_file else url) as client:
        for name in "ab":
            take_back(client, name, "flag")
        copy_state(end(client, moved if by_a_file else url), end(client, second))
    for path in (elsewhere, archive.client_path):
        with Metadir(path, state=second) as client:
            client.update()
            assert own(client, "a").keys() & {"flag", "kept"} == {"kept"}
            assert own(client, "b") == {}
            put(client, "a", **{f"from_{path.name}": 1})
            client.update()
    with Metadir(elsewhere, state=second) as client:
        assert client.job("job").due() == 2
        assert own(client, "a") == {"kept": 1, "from_elsewhere": 1, "from_client": 1}
        assert own(client, LONG) == {"note": "here only"}
