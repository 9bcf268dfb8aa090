"""Which metadir is meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_support import PROJECT, Run, hashes, write


def test_name_path_environment_and_project(
    project: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Argument, environment, project file, current directory, in this order; a path brings its jobs along."""
    other = tmp_path / "other"
    write(other, "x.json", {"content_hash": "x"})
    run("--metadir", other, "generate")
    for words in ((), ("--metadir", "archive"), ("--metadir", "./client"), ("--metadir", tmp_path / "client")):
        assert json.loads(run(*words, "status", "--json").stdout)["metadir"] == "archive"
        assert "contracts" in run(*words, "status").stdout
    monkeypatch.setenv("MMMETA", str(other))
    assert json.loads(run("inspect", "--json").stdout)["path"] == str(other)
    assert json.loads(run("--metadir", "archive", "inspect", "--json").stdout)["path"] == str(tmp_path / "client")
    assert json.loads(run("--project", project, "inspect", "--json").stdout)["path"] == str(tmp_path / "client")
    monkeypatch.delenv("MMMETA")
    project.unlink()
    monkeypatch.chdir(other)
    assert json.loads(run("inspect", "--json").stdout)["path"] == str(other)
    project.write_text(PROJECT)
    monkeypatch.chdir(tmp_path)
    assert "Did you mean 'archive'" in run("--metadir", "archiv", "inspect", code=2).stderr


TWO = """
version: 1
metadirs:
  one: {path: ./server, generate: true}
  two: {path: ./client, jobs: {contracts: {call: {function: "cli_sample:remember"}}}}
"""


def test_several_metadirs(project: Path, tmp_path: Path, server: Path, run: Run) -> None:
    """update, run, status and inspect act on all; generate on servers; find wants one named."""
    project.write_text(TWO)
    assert [line.split(":")[0] for line in run("update").stdout.splitlines()] == ["one", "two"]
    assert [json.loads(line)["metadir"] for line in run("status", "--json").stdout.splitlines()] == ["one", "two"]
    assert [line.split(":")[0] for line in run("generate").stdout.splitlines()] == ["one"]
    assert "add --metadir NAME" in run("find", code=2).stderr
    assert len(hashes(run("--metadir", "two", "find", "--json"))) == 3
    assert "two/contracts: 3 done" in run("run", "contracts").stdout
    run("--files-root", tmp_path, "generate", code=2)


def test_one_metadir_that_fails_does_not_stop_the_others(project: Path, server: Path, run: Run) -> None:
    """It is named, and the exit code is 1."""
    project.write_text(TWO)
    (server / "_mmmeta" / "meta.db").write_text("broken")
    result = run("update", code=1)
    assert "Error: one: " in result.stderr
    assert result.stdout.startswith("two: 3 added")


def test_files_root_by_option_and_environment(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument wins over the environment."""
    write(tmp_path / "one", "a.json", {"content_hash": "a"})
    write(tmp_path / "two", "b.json", {"content_hash": "b"})
    (tmp_path / "base").mkdir()
    monkeypatch.setenv("MMMETA_FILES_ROOT", str(tmp_path / "one"))
    monkeypatch.setenv("MMMETA", str(tmp_path / "base"))
    run("generate")
    assert json.loads(run("find", "--json").stdout)["content_hash"] == "a"
    run("--files-root", tmp_path / "two", "generate")
    assert [json.loads(line)["content_hash"] for line in run("find", "--json").stdout.splitlines()] == ["a", "b"]


def test_the_environment_names_the_state_db_also_beside_a_project_file(
    project: Path, tmp_path: Path, client: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over what the project file says; for several metadirs at once it can name none."""
    elsewhere = tmp_path / "private" / "state.db"
    monkeypatch.setenv("MMMETA_STATE", str(elsewhere))
    run("run", code=3)
    assert elsewhere.is_file()
    assert not (client / "_mmmeta" / "local" / "state.db").exists()
    assert json.loads(run("status", "--json").stdout)["jobs"]["contracts"]["done"] == 2
    project.write_text(PROJECT.replace("path: ./client", "path: ./client\n    state: ./other.db"))
    run("--metadir", client, "update")
    assert not (tmp_path / "other.db").exists()
    project.write_text(TWO)
    assert "name one with --metadir (one, two)" in run("update", code=2).stderr
    run("--metadir", "two", "update")
    monkeypatch.delenv("MMMETA_STATE")
    project.write_text(PROJECT.replace("path: ./client", "path: ./client\n    state: ./other.db"))
    run("update")
    assert (tmp_path / "other.db").is_file()
