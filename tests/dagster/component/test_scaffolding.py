"""Scaffolding from Python, as Dagster's own tests do it, and what Dagster is told of the library."""

from __future__ import annotations

import dagster as dg
import pytest
from dagster.components.testing import create_defs_folder_sandbox
from pydantic import ValidationError

import mmmeta
import mmmeta_dagster
from mmmeta.errors import ProjectError
from mmmeta_dagster import MetadirComponent

# Dagster's sandbox for components uses what Dagster calls beta, and pydantic's older ways.
pytestmark = [
    pytest.mark.filterwarnings("ignore:(Class|Parameter|Function) .* is currently in (beta|preview)"),
    pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated:DeprecationWarning"),
]


@pytest.mark.parametrize("kind", ["yaml", "python"])
def test_what_is_scaffolded_loads(kind: str) -> None:
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(
            MetadirComponent,
            scaffold_params={"name": "papers", "path": "{{ context.project_root }}/papers"},
            scaffold_format=kind,  # type: ignore[arg-type]
        )
        assert (path / ("defs.yaml" if kind == "yaml" else "component.py")).exists()
        with sandbox.build_all_defs() as definitions:
            keys = {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}
        assert set(keys) == {"papers/metadata_db", "papers/state_db", "papers/download_all"}
        place = keys["papers/metadata_db"].metadata["path"].value
        assert place == str(sandbox.project_root.resolve() / "papers")


@pytest.mark.parametrize("kind", ["yaml", "python"])
def test_nothing_is_given_and_it_loads_too(kind: str) -> None:
    with create_defs_folder_sandbox() as sandbox:
        sandbox.scaffold_component(MetadirComponent, scaffold_format=kind)  # type: ignore[arg-type]
        with sandbox.build_all_defs() as definitions:
            assert dg.AssetKey(["archive", "state_db"]) in {spec.key for spec in definitions.resolve_all_asset_specs()}


@pytest.mark.parametrize("params", [{"nam": "papers"}, {"name": 5}, {"name": "papers", "jobs": {}}])
def test_unknown_or_wrong_parameters_are_refused(params: dict[str, object]) -> None:
    """Before anything is written."""
    with create_defs_folder_sandbox() as sandbox:
        before = sorted(sandbox.defs_folder_path.rglob("*"))
        with pytest.raises(ValidationError):
            sandbox.scaffold_component(MetadirComponent, scaffold_params=params)
        assert sorted(sandbox.defs_folder_path.rglob("*")) == before


def test_a_name_that_cannot_be_is_refused() -> None:
    with (
        create_defs_folder_sandbox() as sandbox,
        pytest.raises(ProjectError, match=r"'a-b' cannot name a metadir.*a_b"),
    ):
        sandbox.scaffold_component(MetadirComponent, scaffold_params={"name": "a-b"})


def test_dagster_knows_the_library() -> None:
    """By name and version, as its own; the version is mmmeta's."""
    assert mmmeta_dagster.__version__ == mmmeta.__version__
    assert dg.DagsterLibraryRegistry.get()["mmmeta_dagster"] == mmmeta.__version__
