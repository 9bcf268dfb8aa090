"""``checks`` of a metadir in the project file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmmeta.errors import ProjectError
from mmmeta.project import MetadirConfig, json_schema, load_project


def load(tmp_path: Path, text: str, **environ: str) -> MetadirConfig:
    file = tmp_path / "mmmeta.yaml"
    file.write_text(f"version: 1\nmetadirs:\n  archive:\n    path: ./archive\n{text}")
    return load_project(file, environ).metadirs["archive"]


def test_the_defaults(tmp_path: Path) -> None:
    """Whether nothing is said, or nothing under it, or true."""
    for text in ("", "    checks:\n", "    checks: true\n", "    checks: {}\n"):
        checks = load(tmp_path, text).checks
        assert (checks.enabled, checks.severity, checks.failures, checks.lag) == (True, "warn", 0.1, 86_400)
        assert (checks.downloads, checks.sample, checks.several_types) == (20, 20, [])


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("false", "enabled", False),
        ("{enabled: false}", "enabled", False),
        ('"{{ env.X }}"', "enabled", False),
        ("{severity: error}", "severity", "error"),
        ("{failures: 0}", "failures", 0.0),
        ("{lag: 1h30m}", "lag", 5_400.0),
        ("{downloads: all}", "sample", None),
        ("{downloads: 0}", "sample", 0),
        ('{downloads: "{{ env.N }}"}', "sample", 7),
        ("{several_types: [pages, a:b]}", "several_types", ["pages", "a:b"]),
        ("{several_types: }", "several_types", []),
    ],
)
def test_what_can_be_said(tmp_path: Path, text: str, key: str, value: Any) -> None:
    checks = load(tmp_path, f"    checks: {text}\n", X="False", N="7").checks
    assert getattr(checks, key) == value


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("{severty: error}", "severty", "Did you mean 'severity'"),
        ("{severity: loud}", "severity", "'warn' or 'error'"),
        ("{failures: 10}", "failures", "1"),
        ("{lag: soon}", "lag", "'soon' is not a duration"),
        ("{downloads: some}", "downloads", "'some' is neither a number of files nor all"),
        ("{downloads: -1}", "downloads", "needs a number of files, 0 for none, or all"),
        ("{downloads: true}", "downloads", "needs a number of files, 0 for none, or all"),
        ("5", "", ""),
    ],
)
def test_what_cannot(tmp_path: Path, text: str, key: str, words: str) -> None:
    """File, line, key and reason."""
    with pytest.raises(ProjectError) as caught:
        load(tmp_path, f"    checks: {text}\n")
    where = f"metadirs.archive.checks.{key}".rstrip(".")
    assert str(caught.value).startswith(f"{tmp_path / 'mmmeta.yaml'}:5: {where}: ")
    assert words in str(caught.value)


def test_a_schedule_of_checks_that_are_switched_off(tmp_path: Path) -> None:
    """Says nothing that could be done."""
    with pytest.raises(ProjectError, match=r"metadirs\.archive\.schedules\.checks: there are no checks to run"):
        load(tmp_path, '    checks: false\n    schedules: {checks: "0 7 * * *"}\n')


def test_a_job_that_is_called_like_the_checks_of_another(tmp_path: Path) -> None:
    """Ops of Dagster cannot have one name."""
    call = "{call: {function: 'a:b'}}"
    with pytest.raises(ProjectError, match="would both be archive__look__checks in Dagster"):
        load(tmp_path, f"    jobs: {{look: {call}, look__checks: {call}}}\n")
    with pytest.raises(ProjectError, match="the name 'checks' is taken by mmmeta itself"):
        load(tmp_path, f"    jobs: {{checks: {call}}}\n")


def test_the_schema_for_editors_has_both_forms() -> None:
    checks = json_schema()["$defs"]["MetadirConfig"]["properties"]["checks"]
    assert checks["anyOf"] == [{"type": "boolean"}, {"$ref": "#/$defs/ChecksConfig"}]
    assert json.dumps(checks)
