"""What the tests of syncing share: an archive that is worth moving, and what of it has arrived."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from archives import copy_metadir
from remotes import Remote, remote_at

from mmmeta import Metadir, mmmeta

FILES = 2_000
"""Make a segment of some 300 KB."""


def record(number: int, version: int = 0) -> dict[str, Any]:
    """Metadata that does not pack well, so that a segment has some size."""
    text = random.Random(f"{number} {version}").randbytes(120).hex()
    return {"content_hash": f"{number:040x}", "title": f"Report {number}, version {version}", "text": text}


def publish(server: Metadir, *numbers: int, version: int = 0) -> None:
    """A publication of these files."""
    server.files.upsert_many([record(number, version) for number in numbers], ["content_hash"])


def contents(metadir: Metadir) -> dict[str, tuple[dict[str, Any], bool]]:
    """The remote's metadata of all files, and which are deleted."""
    metadir.ignore_news()
    return {file.unique_value: (dict(file.meta), file.deleted) for file in metadir.files.find(deleted=None)}


def files_in(folder: Path) -> set[str]:
    """What lies below a folder, by relative path."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def remote(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    """An empty place at the server that the parameter names; this process is let in."""
    with remote_at(request.param) as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Metadir]:
    with mmmeta(tmp_path / "server") as made:
        publish(made, *range(FILES))
        made.close()
        yield made


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Metadir]:
    with mmmeta(tmp_path / "client") as made:
        yield made


def lay(server: Metadir, remote: Remote) -> None:
    """What the server has published lies at the place, however it came there."""
    copy_metadir(server.layout.base, remote.folder, without=("meta.db",))
    for path in remote.folder.rglob("*"):
        path.chmod(0o777)
    remote.settle()


def assert_untouched(client: Metadir) -> None:
    """Nothing that an update would take has changed."""
    assert not client.layout.head.exists()
    assert not client.layout.meta_db.exists()
    assert not client.layout.store.exists()
