"""What was meant for a URL is understood or refused in one line, and never becomes a path with a password in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cli_support import Run
from project_mistakes import BASE

from mmmeta import Metadir
from mmmeta.errors import ProjectError, StateDbError
from mmmeta.layout import state_path
from mmmeta.project import Project, load_project

SECRET = "geheim77"
URL = f"postgresql+psycopg://u:{SECRET}@localhost:1/d"

UNDERSTOOD = [f" {URL}", f"\t{URL}", f"{URL}\n", f"\ufeff{URL} \r\n"]

REFUSED = [
    f'"{URL}"',
    f"'{URL}'",
    f" '{URL}' ",
    f"<{URL}>",
    f"\u201c{URL}\u201d",
    f"postgresql+psycopg:/u:{SECRET}@localhost/d",
    f"postgresql+psycopg:u:{SECRET}@localhost/d",
    f"postgresql+psycopg//u:{SECRET}@localhost/d",
    f"postgresql+psycopg/u:{SECRET}@localhost/d",
    f"postgresql//u:{SECRET}@localhost/d",
    f"postgresql+psycopg ://u:{SECRET}@localhost/d",
    f"postgresql:u:{SECRET}@localhost/d",
    f"POSTGRES:/u:{SECRET}@localhost/d",
    f"mysql+pymysql://u:{SECRET}@localhost/d",
    f"mysql:u:{SECRET}@localhost/d",
    f"jdbc:postgresql://u:{SECRET}@localhost/d",
    f"STATE_URL={URL}",
    f"{SECRET}://x",
    f"//u:{SECRET}@localhost/d",
    f"u:{SECRET}@localhost/d",
    f"host=localhost user=u password={SECRET}",
    f"postgresql+psycopg://u:a@{SECRET}@localhost/d",
    f"sqlite:{SECRET}.db",
    f"sqlite://{SECRET}.db",
    "sqlite://",
    "sqlite:///",
    "sqlite:///:memory:",
    " ",
]

PATHS = [
    "state.db",
    "a b/state.db",
    "./a:b/state.db",
    "C:\\state.db",
    "/data/2026-01-01T10:00/s.db",
    "c++/state.db",
    " x",
]


@pytest.mark.parametrize("written", UNDERSTOOD)
def test_blanks_around_a_url_do_not_count(written: str, tmp_path: Path) -> None:
    assert state_path(written) == URL
    assert project_with("state: state.db", f"state: {quoted(written)}", tmp_path).metadirs["archive"].state == URL


@pytest.mark.parametrize("written", REFUSED)
def test_what_looks_like_a_url_is_never_a_state_db(written: str, tmp_path: Path) -> None:
    """In the library and in a project file; nothing is made, and nothing secret is said."""
    folder = tmp_path / "elsewhere"
    said = []
    with pytest.raises(StateDbError) as caught:
        Metadir(folder, state=written)
    said.append(str(caught.value))
    with pytest.raises(ProjectError) as failed:
        project_with("state: state.db", f"state: {quoted(written)}", folder)
    said.append(str(failed.value))
    assert "mmmeta.yaml:5" in said[-1]
    assert not [text for text in said if SECRET in text or len(text.splitlines()) > 1], said
    assert os.listdir(folder) == ["mmmeta.yaml"]


@pytest.mark.parametrize("written", [REFUSED[0], REFUSED[5], REFUSED[-1]])
def test_every_verb_says_so_in_one_line(
    written: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MMMETA_STATE, and the ends of a copy."""
    folder = tmp_path / "elsewhere"
    said = []
    for words in (["update"], ["work"], ["status"]):
        monkeypatch.setenv("MMMETA_STATE", written)
        said.append(run("--metadir", folder, *words, code=1).output)
        assert "MMMETA_STATE" in said[-1]
    monkeypatch.delenv("MMMETA_STATE")
    if written.strip():
        said.append(run("--metadir", folder, "state", "copy", "--dry-run", written, "other.db", code=1).output)
        assert "FROM" in said[-1]
    assert not [text for text in said if SECRET in text or text.count("Error:") != 1], said
    assert os.listdir(folder) == []


@pytest.mark.parametrize("written", PATHS)
def test_a_path_stays_a_path(written: str) -> None:
    assert state_path(written) == written


@pytest.mark.parametrize(
    "wrong", ['"s3://u:geheim77@b/x"', "s3:/u:geheim77@b/x", "s3:u:geheim77@b", "sftp//u:geheim77@h/x"]
)
def test_what_looks_like_a_url_is_no_place_to_sync_from(wrong: str, tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as failed:
        project_with("state: state.db", f"sync: {{pull: {quoted(wrong)}}}", tmp_path)
    assert "is none that is understood" in str(failed.value) or "quotes" in str(failed.value)
    assert SECRET not in str(failed.value)


def test_blanks_around_other_urls_do_not_count(tmp_path: Path) -> None:
    """Of a place to sync from, and of a target."""
    project = project_with("state: state.db", "sync: {pull: ' s3://bucket/archive '}", tmp_path)
    assert project.metadirs["archive"].sync.pull == "s3://bucket/archive"


def project_with(old: str, new: str, folder: Path) -> Project:
    path = folder / "mmmeta.yaml"
    assert old in BASE
    path.write_text(BASE.replace(old, new, 1))
    return load_project(path, {})


def quoted(text: str) -> str:
    """As YAML has it in one line."""
    escaped = (
        text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    )
    return f'"{escaped}"'
