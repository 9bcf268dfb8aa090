"""Projects as ``create-dagster project`` lays them out, and the commands that a person types in them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PYPROJECT = """
[project]
name = "{name}"
version = "0.1.0"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "{name}"
registry_modules = ["{name}.components.*"]
"""

DEFINITIONS = """
from pathlib import Path

from dagster import definitions, load_from_defs_folder


@definitions
def defs():
    return load_from_defs_folder(path_within_project=Path(__file__).parent)
"""


def lay_out(root: Path, name: str) -> None:
    """An empty project in this folder."""
    root.mkdir(exist_ok=True)
    (root / "pyproject.toml").write_text(PYPROJECT.format(name=name))
    package = root / "src" / name
    (package / "defs").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "defs" / "__init__.py").touch()
    (package / "definitions.py").write_text(DEFINITIONS)


def run_dg(root: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """``dg`` in a project that is not installed, in a home of its own: neither settings nor caches of the developer."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MMMETA", "DAGSTER", "DG_"))}
    home = root / ".home"
    (home / "dagster").mkdir(parents=True, exist_ok=True)
    (home / "dagster" / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    return subprocess.run(
        [str(Path(sys.executable).parent / "dg"), *words],
        cwd=root,
        env={
            **clean,
            "HOME": str(home),
            "DAGSTER_HOME": str(home / "dagster"),
            "PYTHONPATH": os.pathsep.join([str(root / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]),
            # The environment that runs the tests is the project's.
            "VIRTUAL_ENV": sys.prefix,
            "COLUMNS": "200",
            "NO_COLOR": "1",
            "DG_CLI_CONFIG": str(home / "dg.toml"),
            **environ,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
