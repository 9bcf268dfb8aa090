"""The suite that Dagster ships for components of integrations, on ours: ``translation`` and ``op``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster.components.resolved.core_models import OpSpec
from dagster.components.testing import create_defs_folder_sandbox
from dagster.components.testing.test_cases import TestOpCustomization, TestTranslation, TestTranslationBatched

from mmmeta_dagster import MetadirComponent

pytestmark = [
    # Dagster itself makes a component's asset checks anew, with a parameter of its own that it calls beta.
    pytest.mark.filterwarnings(
        "ignore:Parameter `execution_type` of function `AssetsDefinition.__init__` is currently"
    ),
    # Its sandbox for components uses what it calls beta, and pydantic's older ways; its cases have a word that it gives up.
    pytest.mark.filterwarnings("ignore:(Class|Parameter|Function) .* is currently in (beta|preview)"),
    pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Accessing `{{automation_condition:DeprecationWarning"),
]

Assertion = Callable[[Any], bool]
KeyModifier = Callable[[dg.AssetKey], dg.AssetKey] | None


@contextmanager
def loaded(
    folder: Path, metadir: Mapping[str, Any], job: Mapping[str, Any]
) -> Iterator[tuple[MetadirComponent, dg.Definitions]]:
    """A component with one job, in a project of its own."""
    extract = {"command": {"run": ["ls", "{__path}"]}, **job}
    attributes = {"name": "archive", "path": str(folder), "generate": True, "jobs": {"extract": extract}, **metadir}
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(
            MetadirComponent,
            defs_yaml_contents={"type": "mmmeta_dagster.MetadirComponent", "attributes": attributes},
        )
        with sandbox.load_component_and_build_defs(defs_path=path) as (component, definitions):
            assert isinstance(component, MetadirComponent)
            yield component, definitions


def holds(definitions: dg.Definitions, name: str, assertion: Assertion, key_modifier: KeyModifier) -> None:
    key = dg.AssetKey(["archive", name])
    key = key if key_modifier is None else key_modifier(key)
    (spec,) = [spec for spec in definitions.resolve_all_asset_specs() if spec.key == key]
    assert assertion(spec), spec
    assert definitions.resolve_job_def("archive_import")


class TestOfAJob(TestTranslation):
    def test_translation(
        self, tmp_path: Path, attributes: Mapping[str, Any], assertion: Assertion, key_modifier: KeyModifier
    ) -> None:
        with loaded(tmp_path, {}, {"translation": attributes}) as (_, definitions):
            holds(definitions, "extract", assertion, key_modifier)
            specs = {spec.key.to_user_string() for spec in definitions.resolve_all_asset_specs()}
            assert {"archive/metadata_db", "archive/state_db"} <= specs


class TestOfAMetadir(TestTranslation):
    def test_translation(
        self, tmp_path: Path, attributes: Mapping[str, Any], assertion: Assertion, key_modifier: KeyModifier
    ) -> None:
        with loaded(tmp_path, {"translation": attributes}, {}) as (_, definitions):
            for name in ("metadata_db", "state_db", "extract"):
                holds(definitions, name, assertion, key_modifier)


class TestOfWhatArrives(TestTranslation):
    def test_translation(
        self, tmp_path: Path, attributes: Mapping[str, Any], assertion: Assertion, key_modifier: KeyModifier
    ) -> None:
        """``metadata_db`` at a client, which nothing here makes."""
        with loaded(tmp_path, {"translation": attributes, "generate": False}, {}) as (_, definitions):
            holds(definitions, "metadata_db", assertion, key_modifier)


class TestAllAtOnce(TestTranslationBatched):
    def test_translation(
        self, tmp_path: Path, attributes: Mapping[str, Any], assertion: Assertion, key_modifier: KeyModifier
    ) -> None:
        with loaded(tmp_path, {}, {"translation": attributes}) as (_, definitions):
            holds(definitions, "extract", assertion, key_modifier)


class TestOpOfAJob(TestOpCustomization):
    def test_op(self, tmp_path: Path, attributes: Mapping[str, Any], assertion: Assertion) -> None:
        with loaded(tmp_path, {}, {"op": attributes}) as (component, definitions):
            assert assertion(component.jobs["extract"].op)
            asset = definitions.resolve_assets_def(dg.AssetKey(["archive", "extract"]))
            assert assertion(
                OpSpec(name=asset.op.name, tags=dict(asset.op.tags), backfill_policy=asset.backfill_policy)
            )


class TestOpOfAMetadir(TestOpCustomization):
    def test_op(self, tmp_path: Path, attributes: Mapping[str, Any], assertion: Assertion) -> None:
        """A name is what those of all its ops begin with."""
        with loaded(tmp_path, {"op": attributes}, {}) as (component, definitions):
            assert assertion(component.op)
            for name in ("metadata_db", "state_db", "extract"):
                asset = definitions.resolve_assets_def(dg.AssetKey(["archive", name]))
                shown = asset.op.name.removesuffix(f"__{name}")
                assert assertion(OpSpec(name=shown, tags=dict(asset.op.tags), backfill_policy=asset.backfill_policy))
