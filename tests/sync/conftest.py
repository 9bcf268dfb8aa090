"""A server's folder, a client's, and places between them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from sync_places import Site, publish

from mmmeta.sync import patience


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """One that has published three revisions."""
    path = tmp_path / "server"
    path.mkdir()
    (path / "_mmmeta").mkdir()
    (path / "_mmmeta" / "config.yml").write_text("metadata: {unique: content_hash}\n")
    for name in ("a", "b", "c"):
        publish(path, name, title=f"title of {name}")
    return path


@pytest.fixture
def client(tmp_path: Path) -> Path:
    return tmp_path / "client"


@pytest.fixture
def site(server: Path) -> Iterator[Site]:
    """The server's folder as a web server has it."""
    with Site(server).running() as running:
        yield running


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PAUSE", 0.01)


@pytest.fixture
def memory() -> Iterator[str]:
    """The base path in a memory of fsspec's own."""
    yield "memory://synced/archive"
    store = fsspec.filesystem("memory")
    if store.exists("/synced"):
        store.rm("/synced", recursive=True)
