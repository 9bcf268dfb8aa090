"""A state that machines share, in Dagster: what is shown of its URL."""

from __future__ import annotations

from pathlib import Path

from mmmeta.project import MetadirConfig
from mmmeta_dagster.resources import resource_of

URL = "postgresql+psycopg://user:hunter2@127.0.0.1:1/archive"


def test_the_url_of_a_shared_state_is_in_no_configuration(tmp_path: Path) -> None:
    """Dagster shows what a resource is configured with; the resource knows the URL nevertheless."""
    resource = resource_of(MetadirConfig(name="archive", path=tmp_path, state=URL))
    assert "hunter2" not in f"{resource!r} {resource.model_dump()}"
    with resource.open() as metadir:
        assert metadir.layout.ledger == URL
        assert "hunter2" not in repr(metadir.layout)


def test_a_state_in_a_file_is_configured_as_ever(tmp_path: Path) -> None:
    """The Launchpad shows where it lies."""
    resource = resource_of(MetadirConfig(name="archive", path=tmp_path, state=str(tmp_path / "s.db")))
    assert resource.state == str(tmp_path / "s.db")
