"""Fixtures of machines that share a state in PostgreSQL; what they need is imported where a test asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest
from small_archive import Archive
from watch import Watch


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> str:
    from postgres import emptied_server

    made = emptied_server()
    monkeypatch.setenv("SHARED_URL", made)
    return made


@pytest.fixture
def there(empty_archive: Archive, url: str) -> Archive:
    """The machine that has the metadir, and runs what is asked for."""
    from shared_machines import PROJECT

    empty_archive.configure(PROJECT)
    for number in range(3):
        empty_archive.write(f"letter{number}", "letter")
    empty_archive.publish()
    return empty_archive


@pytest.fixture
def here(there: Archive, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    """The sensor of a machine that has the project file and the database, and nothing else."""
    from shared_machines import PROJECT

    made = Archive(tmp_path_factory.mktemp("here"))
    made.configure(PROJECT)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Watch(made, instance)
