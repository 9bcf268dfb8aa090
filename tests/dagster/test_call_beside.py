"""A function of a job stands in a module beside the project file: it is found whoever runs the job, wherever he stands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_archive import Archive

from mmmeta import Metadir
from mmmeta.project import load_project

LOOK = """
def look(file):
    with open(__file__ + ".looked", "a") as out:
        print(file["_file_name"], file=out)
"""


@pytest.mark.parametrize(
    "command",
    [
        ["mmmeta", "run", "archive/look"],
        ["dagster", "job", "execute", "-m", "mmmeta_dagster.definitions", "-j", "archive_look"],
    ],
    ids=["mmmeta", "dagster"],
)
def test_both_commands_find_it(archive: Archive, tmp_path: Path, command: list[str]) -> None:
    """From another folder, which is in nobody's path."""
    module = archive.root / "beside_the_project.py"
    module.write_text(LOOK)
    archive.configure(archive.project.read_text().replace("dagster_test_actions:look", "beside_the_project:look"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MMMETA", "DAGSTER"))}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=elsewhere,
        env={**clean, "MMMETA_PROJECT": str(archive.project)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(Path(f"{module}.looked").read_text().split()) == ["letter0.txt", "letter1.txt"]


def test_python_finds_it_too_and_what_is_installed_comes_first(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is the last one in the path."""
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(archive.root)])
    (archive.root / "beside_for_python.py").write_text(LOOK)
    (archive.root / "json.py").write_text("raise RuntimeError('not this one')")
    archive.configure(archive.project.read_text().replace("dagster_test_actions:look", "beside_for_python:look"))
    with Metadir.from_config(load_project(archive.project).metadirs["archive"]) as m:
        m.update()
        assert m.job("look").run().done == 2
    assert sys.path[-1] == str(archive.root)
    sys.modules.pop("beside_for_python")
