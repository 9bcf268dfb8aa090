"""An archive on both sides, a project file, and the command in this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_support import DOCUMENTS, PROJECT, SAMPLE, Run, sync, write
from click.testing import CliRunner, Result

from mmmeta import mmmeta
from mmmeta.cli import main


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No project file of the developer's is ever found, and tables are as wide as without a terminal."""
    monkeypatch.delenv("COLUMNS", raising=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


@pytest.fixture
def run() -> Run:
    """Calls the command in this process."""

    def call(*words: object, code: int | None = 0) -> Result:
        result = CliRunner().invoke(main, [str(word) for word in words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        if code is not None:
            assert result.exit_code == code, result.output
        return result

    return call


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """A published archive of three documents."""
    folder = tmp_path / "server"
    for document in DOCUMENTS:
        write(folder, f"{document['content_hash']}.json", {**document, "_file_name": f"{document['content_hash']}.txt"})
        (folder / f"{document['content_hash']}.txt").write_text(f"document {document['content_hash']}")
    with mmmeta(folder) as m:
        m.generate()
    return folder


@pytest.fixture
def client(server: Path, tmp_path: Path) -> Path:
    """A synced copy that has not been updated yet."""
    folder = tmp_path / "client"
    sync(server, folder)
    return folder


@pytest.fixture
def project(client: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project file with two jobs for the client, in the current directory."""
    (tmp_path / "cli_sample.py").write_text(SAMPLE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    path = tmp_path / "mmmeta.yaml"
    path.write_text(PROJECT)
    monkeypatch.chdir(tmp_path)
    yield path
    sys.modules.pop("cli_sample", None)


@pytest.fixture
def slow_project(project: Path) -> Path:
    """One job that takes half a second a file."""
    project.write_text(
        PROJECT.split("      contracts:")[0]
        + '      slow:\n        call: {function: "cli_sample:slow"}\n        batch_size: 1\n'
    )
    return project


@pytest.fixture
def ran(project: Path, run: Run) -> Path:
    """Both jobs have run: two contracts done, and a report that failed."""
    run("run", code=3)
    return project
