"""Reads what asset checks found in a run, and sets an archive up for them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from small_archive import Archive

CHECKS = "archive_checks"
OF_STATE_DB = {"at_published_revision", "types_of_keys"}
OF_JOB = {"nothing_dead", "few_failures", "no_lag", "nothing_left_unprocessed"}


def found(result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    """Asset and check → what it found; the run itself has to succeed."""
    assert result.success
    return evaluations(result)


def evaluations(result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    return {(one.asset_key.path[-1], one.check_name): one for one in result.get_asset_check_evaluations()}


def failed(result: dg.ExecuteInProcessResult) -> set[tuple[str, str]]:
    return {key for key, one in found(result).items() if not one.passed}


def numbers(evaluation: dg.AssetCheckEvaluation) -> Mapping[str, Any]:
    return {name: value.value for name, value in evaluation.metadata.items()}


def configure(archive: Archive, *changes: tuple[str, str]) -> None:
    text = archive.project.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    archive.configure(text)


def checks(archive: Archive, text: str) -> None:
    """Give the metadir a ``checks:``."""
    configure(archive, ("path: ./client\n", f"path: ./client\n    checks: {text}\n"))


def sql(path: Path, statement: str, *parameters: object) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement, parameters)
    connection.close()


def state(archive: Archive) -> Path:
    return archive.client / "_mmmeta" / "local" / "state.db"


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}
