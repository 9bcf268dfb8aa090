"""Errors: one line, the right exit code, and nothing created."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from archives import drop_log
from cli_support import PROJECT, Run, command, tree


@pytest.mark.parametrize("words", [("update",), ("find",), ("dump",), ("status",), ("run",), ("run", "--exclusive")])
def test_metadir_that_is_not_there_is_one_line(words: tuple[str, ...], tmp_path: Path) -> None:
    """No traceback, exit code 1 where there is nothing to answer with, and nothing is created."""
    empty = tmp_path / "empty"
    empty.mkdir()
    result = command("--metadir", empty, *words)
    if words != ("status",):
        assert result.returncode == 1
        assert result.stdout == ""
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("\n") == 1
        assert str(empty) in result.stderr
    assert "Traceback" not in result.stderr
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        "inspect",
        "generate",
        "update",
        "store set a 1",
        "store touch a",
        "run",
        "status",
    ],
)
def test_folder_that_does_not_exist(words: str, tmp_path: Path) -> None:
    """A mistyped path is an error, and no new folder."""
    result = command("--metadir", tmp_path / "nowhere", *words.split())
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "nowhere").exists()
    assert result.returncode == (0 if words == "inspect" else 1)


@pytest.mark.parametrize("words", [("update",), ("find",), ("run",), ("run", "--exclusive"), ("inspect",), ("status",)])
@pytest.mark.parametrize("damage", ["text", "cut"])
def test_damaged_metadata_db_is_one_line(words: tuple[str, ...], damage: str, client: Path) -> None:
    """Named, and the folder stays as it was."""
    drop_log(client / "_mmmeta")
    path = client / "_mmmeta" / "meta.db"
    path.write_bytes(b"this is not a database" * 100 if damage == "text" else path.read_bytes()[: 4096 + 100])
    before = tree(client)
    result = command("--metadir", client, *words)
    assert "Traceback" not in result.stderr
    assert "meta.db" in result.stderr
    assert result.returncode == (3 if words == ("inspect",) else 1)
    assert tree(client) == before
    assert sorted(path.name for path in (client / "_mmmeta").iterdir()) == ["_store", "meta.db"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("find", "contract"), "not a filter"),
        (("find", "pages=>3"), "no operator"),
        (("find", "--limit", "-1"), "--limit"),
        (("finde",), "There is no command"),
        (("store", "set", "a"), "Missing argument"),
        (("run", "extract"), "no jobs without a project file"),
    ],
)
def test_usage_errors_have_code_two(words: tuple[str, ...], message: str, client: Path, run: Run) -> None:
    """Typing errors are told from failures."""
    assert message in run("--metadir", client, *words, code=2).stderr


def test_mistake_in_the_project_file_is_named(project: Path, run: Run) -> None:
    """File, line and near miss, in one line."""
    project.write_text(PROJECT.replace("where:", "wher:"))
    result = run("run", code=1)
    assert "wher" in result.stderr
    assert "where" in result.stderr
    assert str(project) in result.stderr
    assert result.stderr.count("\n") == 1


def test_project_file_that_is_not_there(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """By argument and by environment."""
    assert "nowhere.yaml" in run("--project", tmp_path / "nowhere.yaml", "status", code=1).stderr
    monkeypatch.setenv("MMMETA_PROJECT", str(tmp_path / "nowhere.yaml"))
    assert "nowhere.yaml" in run("status", code=1).stderr


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_change_log_that_is_not_whole_is_named(damage: str, client: Path, run: Run) -> None:
    """Not "nothing here": what is missing is said by all three, before the first update and while a later sync is under way."""
    (client / "_mmmeta" / "meta.db").unlink()
    (segment,) = (client / "_mmmeta" / "changes").iterdir()
    whole = segment.read_bytes()
    for updated in (False, True):
        if updated:
            segment.write_bytes(whole)
            run("--metadir", client, "update")
        segment.unlink() if damage == "missing" else segment.write_bytes(whole[:-20])
        shown = run("--metadir", client, "status").stdout
        assert "published  cannot be read" in shown
        assert f"outdated   not known: {segment} " in shown
        assert str(segment) in run("--metadir", client, "inspect", code=3).stderr
    assert run("--metadir", client, "status", "--check").exit_code == 0


def test_inspect_says_what_a_change_log_does_not_tell(client: Path, run: Run) -> None:
    """How many values were derived is not known, which is not none."""
    (client / "_mmmeta" / "meta.db").unlink()
    assert "not known before an update" in run("--metadir", client, "inspect").stdout
    assert json.loads(run("--metadir", client, "inspect", "--json").stdout)["metadata_db"]["derived"] is None
