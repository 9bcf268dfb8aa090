"""How long the command line takes to start, and that an import brings nothing that is not needed yet."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from benchmarks.figures import Figure, timed

HEAVY = ("dagster", "pandas", "alembic", "dataset", "sqlalchemy", "pydantic", "fsspec", "rich")
"""Modules that ``import mmmeta`` must not bring."""


def run(rounds: int) -> Iterator[Figure]:
    """``mmmeta --help`` beside ``import click``."""
    limits, ours = [], []
    for _ in range(2 * rounds + 1):
        limits.append(timed(lambda: program("-c", "import click")))
        ours.append(timed(lambda: program("-m", "mmmeta", "--help")))
    yield Figure("mmmeta --help, beside import click", 0, ours[1:], limits[1:], 1.5)
    code = f"import sys, mmmeta; print([name for name in {HEAVY!r} if name in sys.modules])"
    brought = program("-c", code).strip()
    if brought != "[]":
        raise SystemExit(f"import mmmeta brings {brought}")


def program(*arguments: str) -> str:
    """What a new Python prints."""
    return subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True).stdout
