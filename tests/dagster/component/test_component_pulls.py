"""``sync`` in a component: its runs pull, and Dagster's own words say how the asset ``synced`` looks, as for the others."""

from __future__ import annotations

import textwrap

import dagster as dg
import pytest
from component_project import ARCHIVE, Folder, specs_of
from pulling import generate
from small_archive import Archive

from mmmeta_dagster import keys

pytestmark = pytest.mark.filterwarnings(
    "ignore:Parameter `execution_type` of function `AssetsDefinition.__init__` is currently in beta"
)

PULLS = """
sync: {pull: "{{ context.project_root }}/server"}
translation:
  key_prefix: lake
  tags: {who: "{{ name }}"}
op: {tags: {size: small}}
"""


def test_a_component_pulls_and_its_words_hold_for_the_asset(
    project: Folder, archive: Archive, instance: dg.DagsterInstance
) -> None:
    """Key, tags of the asset and of its step; the import begins with it."""
    generate(archive, "contract3")
    project.component("docs", ARCHIVE + textwrap.indent(PULLS, "  "))
    definitions = project.load()
    spec = specs_of(definitions)["lake/archive/synced"]
    assert spec.tags["who"] == "synced"
    job = definitions.resolve_job_def("archive_import")
    (step,) = [node for node in job.nodes_in_topological_order if node.name == "archive__synced"]
    assert step.definition.tags["size"] == "small"
    result = job.execute_in_process(instance=instance)
    assert result.success
    (event,) = result.asset_materializations_for_node("archive__synced")
    assert (event.metadata[keys.META_REVISION_BEFORE].value, event.metadata[keys.META_REVISION].value) == (1, 2)
    assert len(archive.downloads) == 4


def test_one_key_for_it_and_another_is_refused(project: Folder) -> None:
    """At its place."""
    moved = textwrap.indent('sync: {pull: /nowhere}\ntranslation: {key: "one/{{ name[:1] }}"}\n', "  ")
    project.component("docs", ARCHIVE + moved)
    assert "'synced' and 'state_db' would both be the asset key one/s" in project.why_not()
