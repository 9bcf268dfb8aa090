"""Keys that used to be numbers and come with something else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from archives import Archive, SettableClock

from mmmeta.state import drift


@pytest.fixture
def archive(tmp_path: Path, clock: SettableClock) -> Iterator[Archive]:
    made = Archive(tmp_path, client_clock=clock)
    made.server.layout.config.parent.mkdir(parents=True)
    made.server.layout.config.write_text("metadata:\n  unique: id\n")
    yield made
    made.close()


def publish(archive: Archive, **pages: Any) -> None:
    """Files by name, each with the value of its key ``pages``."""
    archive.server.files.upsert_many([{"id": name, "pages": value} for name, value in pages.items()], ["id"])
    archive.sync()
    archive.client.update()


def found(archive: Archive, days: float = 7, **options: Any) -> list[tuple[str, int, int, tuple[str, ...], str, Any]]:
    since = archive.server._backend.state.clock() - timedelta(days=days)
    return [
        (one.key, one.files, one.of, one.types, one.file, one.value)
        for one in archive.client.type_drift(since=since, **options)
    ]


@pytest.mark.parametrize(
    ("value", "words"),
    [("2", "text"), (True, "true or false"), (["1", 2], "a list or object"), ("", "text")],
)
@pytest.mark.parametrize("first", [1, 1.5, 10**30])
def test_a_number_that_became_something_else(archive: Archive, first: Any, value: Any, words: str) -> None:
    """With how many, of how many, and an example."""
    publish(archive, a=first, b=first)
    assert found(archive) == []
    publish(archive, c=value)
    assert found(archive) == [("pages", 1, 3, (words,), "c", value)]


def test_numbers_of_all_kinds_and_null_are_no_drift(archive: Archive) -> None:
    """Nor is a text that became a number, nor a key that the client alone has."""
    publish(archive, a=1, b=1.5, c=10**30, d=None)
    archive.server.files.upsert_many([{"id": "a", "title": "x"}, {"id": "b", "title": 5}], ["id"])
    archive.sync()
    archive.client.update()
    for name, value in (("a", 1), ("b", "x")):
        file = archive.client.files.get(name)
        assert file is not None
        file["mine"] = value
        file.save()
    assert found(archive) == []


def test_it_is_over_when_it_is_mended_deleted_or_named(archive: Archive) -> None:
    """The registry remembers for ever that there was a text; the files decide."""
    publish(archive, a=1, b="2", c="3")
    assert [one[:2] for one in found(archive)] == [("pages", 2)]
    assert found(archive, several=["pages"]) == []
    publish(archive, b=2)
    assert [one[:2] for one in found(archive)] == [("pages", 1)]
    archive.server.files.delete(id="c")
    archive.sync()
    archive.client.update()
    assert found(archive) == []


def test_only_the_latest_files_are_looked_at(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """By number, and by when the remote changed them."""
    publish(archive, a=1, b="2")
    publish(archive, c=3)
    assert found(archive, days=-1) == []
    monkeypatch.setattr(drift, "LATEST", 2)
    assert len(found(archive)) == 1
    monkeypatch.setattr(drift, "LATEST", 1)
    assert found(archive) == []


def test_a_key_without_a_column_of_its_own(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the first 1,000 keys they share one."""
    from mmmeta.catalog.columns import COLUMN_LIMIT, REMOTE

    monkeypatch.setitem(COLUMN_LIMIT, REMOTE, 1)
    publish(archive, a=1, b="2")
    assert found(archive) == [("pages", 1, 2, ("text",), "b", "2")]
