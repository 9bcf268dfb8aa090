"""Fixtures: archives, and real Dagster instances."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import dagster as dg
import pytest
from component_project import Folder
from dagster_projects import lay_out
from small_archive import ACTIONS, PROJECT, Archive
from watch import Watch

from mmmeta.sync import patience


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Dagster mirrors the output of a run by processes for which its older versions do not wait: no leak of ours."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"))


@pytest.fixture
def empty_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """A project file and the function that it names, but no metadir."""
    archive = Archive(tmp_path)
    archive.configure(PROJECT)
    (tmp_path / "dagster_test_actions.py").write_text(ACTIONS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "dagster_test_actions", raising=False)
    return archive


@pytest.fixture
def archive(empty_archive: Archive) -> Archive:
    """Three contracts and two letters, published and synced, nothing updated yet."""
    for number in range(3):
        empty_archive.write(f"contract{number}", "contract", url=str(number))
    for number in range(2):
        empty_archive.write(f"letter{number}", "letter")
    empty_archive.publish()
    return empty_archive


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pull that fails tries again without pauses."""
    monkeypatch.setattr(patience, "PAUSE", 0.001)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A real Dagster instance, in memory."""
    with dg.DagsterInstance.ephemeral() as memory:
        yield memory


@pytest.fixture(params=["memory", "disk"])
def each_instance(request: pytest.FixtureRequest) -> Iterator[dg.DagsterInstance]:
    """Both kinds, for what depends on how Dagster keeps its own things."""
    if request.param == "memory":
        with dg.DagsterInstance.ephemeral() as memory:
            yield memory
    else:
        with dg.instance_for_test() as disk:
            yield disk


@pytest.fixture
def watch(archive: Archive) -> Iterator[Watch]:
    """The sensor of the archive; Dagster's own database is in memory here, on disk further down."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield Watch(archive, instance)


@pytest.fixture
def project(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    """An empty project around an archive."""
    made = Folder(archive.root, f"project_{uuid4().hex}")
    lay_out(archive.root, made.module)
    monkeypatch.syspath_prepend(archive.root / "src")
    yield made
    for name in [name for name in sys.modules if name.split(".")[0] == made.module]:
        del sys.modules[name]
