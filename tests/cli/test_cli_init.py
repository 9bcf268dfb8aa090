"""``mmmeta init``: what is printed, where the files go, and what the environment has to say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_support import Run, tree, write

from mmmeta.config.model import load_config
from mmmeta.project import load_project


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two documents with metadata; the current directory is the one above."""
    for name in ("a", "b"):
        write(tmp_path / "my docs", f"{name}.pdf.json", {"title": name, "retrieved_at": "2020-01-01"})
        write(tmp_path / "my docs", f"{name}.pdf", name)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "my docs"


def test_it_writes_both_files_and_says_what_comes_next(run: Run, folder: Path) -> None:
    """config.yml belongs to the archive, mmmeta.yaml to the current directory."""
    result = run("init", "my docs")
    assert "2 metadata files, 2 other files; all metadata was read." in result.stdout
    assert "retrieved_at" in result.stdout
    assert "2 of 2" in result.stdout
    assert f"Written: {folder}/_mmmeta/config.yml" in result.stdout
    assert result.stdout.endswith("Next:\n  mmmeta generate\n  mmmeta run\n")
    metadir = load_project(folder.parent / "mmmeta.yaml").metadirs["my_docs"]
    assert (metadir.path, metadir.generate) == (folder, True)


def test_within_the_folder_no_argument_is_needed(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the jobs will write there is ignored by generate."""
    monkeypatch.chdir(folder)
    run("init")
    assert "/downloads/" in load_config(folder / "_mmmeta" / "config.yml").ignore


def test_a_dry_run_shows_both_files(run: Run, folder: Path) -> None:
    """And writes nothing."""
    before = tree(folder.parent)
    result = run("init", "my docs", "--dry-run")
    assert f"Would write {folder}/_mmmeta/config.yml:" in result.stdout
    assert "    unique: content_hash" in result.stdout
    assert tree(folder.parent) == before


def test_json_has_findings_and_files(run: Run, folder: Path) -> None:
    """For programs: counts, keys, and the texts."""
    found = json.loads(run("init", "my docs", "--json").stdout)
    assert (found["metadata_files"], found["documents"], found["unique"]) == (2, 2, "content_hash")
    assert found["keys"]["title"]["records"] == 2
    assert found["files"]["project"]["outcome"] == "written"


def test_a_second_time_everything_is_left(run: Run, folder: Path) -> None:
    """Nothing is said to be proposed that stands there already."""
    run("init", "my docs")
    before = tree(folder.parent)
    result = run("init", "my docs")
    assert result.stdout.count("There already, and just this") == 2
    assert tree(folder.parent) == before
    assert "There already, and just this" in run("init").stdout  # what the project file names


def test_another_project_file_is_left_and_the_entry_for_it_is_shown(run: Run, folder: Path) -> None:
    """The next commands name the metadir, for the project file does not."""
    (folder.parent / "mmmeta.yaml").write_text("version: 1\nmetadirs: {other: {path: ./other}}\n")
    result = run("init", "my docs")
    assert "There already and left as it is" in result.stdout
    assert "    my_docs:" in result.stdout
    assert f"mmmeta --metadir '{folder}' generate" in result.stdout


def test_the_environment_says_where(run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MMMETA is where the metadir will be, MMMETA_PROJECT the project file; the argument is where the documents are."""
    monkeypatch.setenv("MMMETA", str(tmp_path / "base"))
    monkeypatch.setenv("MMMETA_PROJECT", str(tmp_path / "conf" / "project.yaml"))
    result = run("init", "my docs")
    assert f"mmmeta --project {tmp_path}/conf/project.yaml generate" in result.stdout
    metadir = load_project(tmp_path / "conf" / "project.yaml").metadirs["base"]
    assert (metadir.path, metadir.files_root) == (tmp_path / "base", folder)
    assert (tmp_path / "base" / "_mmmeta" / "config.yml").exists()


def test_two_different_folders_are_a_usage_error(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the next verb would follow the environment."""
    monkeypatch.setenv("MMMETA_FILES_ROOT", "/somewhere")
    result = run("init", "my docs", code=2)
    assert "Two folders of documents: my docs, and /somewhere of MMMETA_FILES_ROOT" in result.stderr


def test_an_empty_folder_is_an_error_in_words(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1, nothing written."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert "has no files" in run("init", code=1).stderr
    assert not list((tmp_path / "empty").iterdir())


def test_a_client_has_nothing_to_begin(run: Run, client: Path, project: Path) -> None:
    """Whether it is named, or meant by the project file of the current directory."""
    for words in (("init", client), ("init",)):
        assert "is a client's copy" in run(*words, code=1).stderr


def test_a_name_cannot_steer_the_terminal(run: Run, folder: Path) -> None:
    """Nor end a comment."""
    write(folder, "c.json", {"\x1b[31m\nunique: x": "\x1b[2J", "content_hash": "c"})
    result = run("init", "my docs")
    assert "\x1b" not in result.output
    assert load_config(folder / "_mmmeta" / "config.yml").metadata.unique == "content_hash"
