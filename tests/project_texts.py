"""Project files of a test, read."""

from __future__ import annotations

from pathlib import Path

from mmmeta.project import (
    JobConfig,
    Project,
    load_project,
)

ENVIRON = {"STATE_URL": "sqlite:///state/s.db", "DB_URL": "sqlite:///out.db"}


def load(folder: Path, text: str, environ: dict[str, str] | None = None) -> Project:
    path = folder / "mmmeta.yaml"
    path.write_text(text)
    return load_project(path, ENVIRON if environ is None else environ)


def job(
    folder: Path, rules: str, environ: dict[str, str] | None = None, *, do: str = "call: {function: 'a:b'}"
) -> JobConfig:
    """The one job of a project whose rules are given."""
    text = f"metadirs:\n  m:\n    path: .\n    jobs:\n      j:\n        {do}\n"
    project = load(folder, text + "".join(f"        {line}\n" for line in rules.splitlines()), environ)
    return project.metadirs["m"].jobs["j"]
