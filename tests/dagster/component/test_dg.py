"""The component with the real ``dg``, as a person types its commands (a few seconds each)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dagster_projects import lay_out, run_dg
from small_archive import Archive

pytest.importorskip("dagster_dg_cli", reason="there is no dg of this Dagster's version")

COMPONENT = "mmmeta_dagster.MetadirComponent"


@pytest.fixture
def project(archive: Archive) -> Path:
    """An empty project around an archive; gives its folder."""
    lay_out(archive.root, "papers")
    return archive.root


@pytest.mark.slow
def test_dg_lists_the_component(project: Path) -> None:
    """It is found by its entry point, and described in a sentence."""
    listed = run_dg(project, "list", "components", "--json")
    assert listed.returncode == 0, listed.stderr
    components = json.loads(listed.stdout)
    if isinstance(components, dict):  # newer versions of dg
        components = components["items"]
    (found,) = [one for one in components if one["key"] == COMPONENT]
    assert found["summary"] == "A metadir with its jobs, sensor and schedules, as assets and Dagster jobs."


@pytest.mark.slow
def test_from_scaffolding_to_a_run(project: Path, archive: Archive) -> None:
    """What is scaffolded loads as it is, is listed, and imports."""
    path = "{{ context.project_root }}/client"
    made = run_dg(project, "scaffold", "defs", COMPONENT, "docs", "--name", "docs", "--path", path)
    assert made.returncode == 0, made.stdout + made.stderr
    yaml = project / "src" / "papers" / "defs" / "docs" / "defs.yaml"
    text = yaml.read_text()
    assert "download_all:" in text
    yaml.write_text(text.replace("  jobs:", '  files_root: "{{ context.project_root }}/server"\n  jobs:'))
    checked = run_dg(project, "check", "defs")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "All component YAML validated successfully." in checked.stdout + checked.stderr
    listed = run_dg(project, "list", "defs", "--json")
    assert listed.returncode == 0, listed.stderr
    definitions = json.loads(listed.stdout)
    assert {job["name"] for job in definitions["jobs"]} >= {"docs_import", "docs_update", "docs_download_all"}
    assert [sensor["name"] for sensor in definitions["sensors"]] == ["docs_remote_updated"]
    launched = run_dg(project, "launch", "--job", "docs_import")
    assert launched.returncode == 0, launched.stdout + launched.stderr
    assert len(archive.downloads) == 5


@pytest.mark.slow
def test_dg_check_yaml_names_file_line_and_key(project: Path) -> None:
    """Of everything that is wrong, at the key itself and not at what is around it."""
    yaml = project / "src" / "papers" / "defs" / "docs" / "defs.yaml"
    yaml.parent.mkdir()
    yaml.write_text(
        f"type: {COMPONENT}\n"
        "attributes:\n"
        "  name: docs\n"
        "  path: ./data\n"
        "  sensr: {interval: 5}\n"
        "  jobs:\n"
        "    fetch:\n"
        "      download:\n"
        "        to: ./downloads\n"
        "        nme: x\n"
        "      attempts: many\n"
        "      workers: '{{ workers }}'\n"
        "      tags: {year: 2026}\n"
        "      translation: {group_nam: x, kinds: [a]}\n"
        "  translation: {group_name: ours, tags: {a: '{{ name }}'}}\n"
        "  op: {name: ours, pol: x}\n"
    )
    checked = run_dg(project, "check", "yaml")
    said = checked.stdout + checked.stderr
    assert checked.returncode == 1, said
    for line, problem in {
        5: "attributes.sensr Additional properties are not allowed",
        10: "attributes.jobs.fetch.download.nme Additional properties are not allowed",
        11: "attributes.jobs.fetch.attempts 'many' is not valid",
        14: "attributes.jobs.fetch.translation.group_nam Additional properties are not allowed",
        16: "attributes.op.pol Additional properties are not allowed",
    }.items():
        assert f"{yaml}:{line} - {COMPONENT} {problem}" in said
    assert "workers' is not" not in said
    assert "fetch.tags" not in said
