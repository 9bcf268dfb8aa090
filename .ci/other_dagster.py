"""Runs the Dagster tests with another Dagster than constraints.txt names, in a virtual environment of its own.

    python .ci/other_dagster.py oldest        what pyproject.toml admits
    python .ci/other_dagster.py newest        what the package index has
    python .ci/other_dagster.py 1.12.3

mmmeta's own dependencies have the versions of constraints.txt; what Dagster brings is what it admits. Its companions
(webserver, dg, DuckDB) are taken in the same version; one that does not have it yet is named, and its tests are skipped.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ["tests/dagster", "tests/whole/test_example_project.py"]
TOOLS = ["pytest", "pytest-xdist", "hypothesis", "pypdf", "psycopg[binary]"]

OWN = {"dataset", "orjson", "pydantic", "pydantic_core", "pyyaml", "rich", "sqlalchemy", "duckdb", *TOOLS}
"""What keeps its tested version. Not click: each Dagster has its own idea of it."""

DAGSTERS_OWN = [
    # 1.11.9 defines its SqlComponent the way of pydantic 1.
    "ignore:Support for class-based:DeprecationWarning",
]
"""Warnings of Dagster's own code that only its older versions give; all others are errors."""


def main(wanted: str, processes: str) -> int:
    version = oldest() if wanted == "oldest" else wanted
    folder = ROOT / f".venv-dagster-{version}"
    python = folder / "bin" / "python"
    ready = folder / ".ready"
    if not ready.exists() or ready.stat().st_mtime < (ROOT / "pyproject.toml").stat().st_mtime:
        print(f"Setting up {folder.name} …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        constraints = folder / "constraints.txt"
        constraints.write_text("\n".join(own_versions()) + "\n", encoding="utf-8")
        dagster = "dagster" if version == "newest" else f"dagster=={version}"
        install(python, "-c", constraints, "-e", ROOT, dagster, *TOOLS)
        for companion in companions(installed(python)):
            if not install(python, "-c", constraints, companion, required=False):
                print(f"There is no {companion} here: its tests are skipped.", flush=True)
        ready.touch()
    print(f"Dagster {installed(python)}", flush=True)
    ignored = [word for warning in DAGSTERS_OWN for word in ("-W", warning)]
    options = ["-n", processes, "--dist", "worksteal", "-m", "not daemon and not browser and not services", *ignored]
    command = [python, "-m", "pytest", *options, *TESTS]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def oldest() -> str:
    """The lower bound in pyproject.toml."""
    found = re.search(r'"dagster>=([\d.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert found is not None
    return ".".join([*found[1].split("."), "0", "0"][:3])


def companions(version: str) -> list[str]:
    """What belongs to a Dagster; its libraries count 0.27 where Dagster counts 1.11."""
    _, minor, patch = version.split(".")
    return [
        f"dagster-webserver=={version}",
        f"dagster-dg-cli=={version}",
        f"dagster-duckdb==0.{int(minor) + 16}.{patch}",
    ]


def own_versions() -> list[str]:
    """The lines of constraints.txt that hold with every Dagster."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.split("==")[0].lower() in OWN]


def install(python: Path, *what: str | Path, required: bool = True) -> bool:
    """Whether pip could."""
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "-qq", *what]
    return subprocess.run(pip, check=required, stderr=None if required else subprocess.DEVNULL).returncode == 0


def installed(python: Path) -> str:
    """The version of Dagster."""
    code = "from importlib.metadata import version; print(version('dagster'))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *sys.argv[2:] or ["2"]))
