"""The client's side of the demo: one Dagster run, and what it did."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.demo.places import DAGSTER_HOME, PROJECT, ROOT
from mmmeta import Metadir
from mmmeta.filters import describe
from mmmeta.project import load_project

COMMAND = "dagster job execute -m mmmeta_dagster.definitions -j archive_import"
"""What a person types in the root of the clone."""

METADIR = "archive"


class RunFailedError(Exception):
    """The Dagster run ended with an error; the message holds the end of its log."""


@dataclass(frozen=True)
class JobResult:
    """What one job did in one run.

    Attributes:
        selection: which files it wants, in words.
        selected: files that it ever selected.
        done, failed: in this run.
        left: files that wait for the next one.
    """

    job: str
    selection: str
    selected: int
    done: int
    failed: int
    left: int


def environment() -> Mapping[str, str]:
    """The environment of the demo's Dagster processes: its own project file and its own list of runs."""
    ours = {"DAGSTER_HOME": str(DAGSTER_HOME), "MMMETA_PROJECT": str(PROJECT)}
    return {name: value for name, value in os.environ.items() if not name.startswith("MMMETA")} | ours


def run_import(log: Path) -> None:
    """Run ``COMMAND`` as a process of its own; what it prints goes to a file.

    Raises:
        RunFailedError: it did not end well.
    """
    with log.open("wb") as output:
        process = subprocess.run(
            [sys.executable, "-m", *COMMAND.split()],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if process.returncode:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
        raise RunFailedError(f"{COMMAND} ended with {process.returncode}; the end of {log}:\n{end}")


def results() -> list[JobResult]:
    """What the last run did, as Dagster recorded it, and what the ledger says now."""
    import dagster as dg

    found = []
    config = load_project(PROJECT).metadirs[METADIR]
    with dg.DagsterInstance.from_config(str(DAGSTER_HOME)) as instance, Metadir.from_config(config) as metadir:
        status = metadir.status()
        for name, job in config.jobs.items():
            key = dg.AssetKey([METADIR, name])
            # A job that had nothing to do leaves an observation.
            records = [
                *instance.fetch_materializations(key, limit=1).records,
                *instance.fetch_observations(key, limit=1).records,
            ]
            last = max(records, key=lambda record: record.storage_id, default=None)
            event = None if last is None else last.asset_materialization or last.asset_observation
            numbers: Mapping[str, Any] = event.metadata if event else {}
            now = status.jobs[name]
            found.append(
                JobResult(
                    job=name,
                    selection=describe(job.condition),
                    selected=now.pending + now.claimed + now.done + now.failed + now.dead,
                    done=int(numbers["done"].value),
                    failed=int(numbers["failed"].value) + int(numbers["dead"].value),
                    left=now.pending + now.failed,
                )
            )
    return found
