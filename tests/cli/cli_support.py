"""What the tests of the command line share: documents, a project file, and helpers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import Result

from mmmeta import JobStatus, read_status

DOCUMENTS: list[dict[str, Any]] = [
    {"content_hash": "a1", "title": "Lease", "document_type": "contract", "pages": 3, "public": True, "n": "00123"},
    {"content_hash": "b2", "title": "Report, with [red] comma", "document_type": "report", "pages": 12, "tags": ["x"]},
    {"content_hash": "c3", "title": "Sale", "document_type": "contract", "pages": 40, "publisher": {"name": "Land"}},
]

Run = Callable[..., Result]

PROJECT = """
version: 1
metadirs:
  archive:
    path: ./client
    jobs:
      contracts:
        where: {document_type: contract}
        call: {function: "cli_sample:remember"}
      everything:
        call: {function: "cli_sample:refuse_reports"}
        backoff: 1h
"""

SAMPLE = """
import os, time

def remember(file):
    with open(os.environ["SEEN"], "a") as seen:
        seen.write(file["content_hash"] + "\\n")

def refuse_reports(file):
    if file["document_type"] == "report":
        raise ValueError("no reports here")
    remember(file)

def slow(file):
    remember(file)
    time.sleep(0.5)
"""


def write(folder: Path, name: str, content: object) -> Path:
    """A metadata file, or any text as one."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def tree(folder: Path) -> dict[str, bytes]:
    """Everything below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kept(folder: Path) -> dict[str, bytes]:
    """What lies in a client's folder; SQLite's own files beside the state db come and go with readers."""
    return {name: content for name, content in tree(folder).items() if "state.db-" not in name}


def sync(server: Path, client: Path) -> None:
    """What a sync tool does: everything but ``local``."""
    shutil.copytree(server / "_mmmeta", client / "_mmmeta", ignore=shutil.ignore_patterns("local"), dirs_exist_ok=True)


def command(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Calls the command as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "mmmeta", *map(str, words)], capture_output=True, text=True, check=False, **options
    )


def hashes(result: Result) -> list[str]:
    """The files that ``find --json`` printed."""
    return [json.loads(line)["content_hash"] for line in result.stdout.splitlines()]


def wait_for(condition: Callable[[], object]) -> None:
    """Until something is there, for half a minute at most."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def rows(text: str) -> list[list[str]]:
    """The rows of a table by their words, without its head."""
    body = text.partition("─\n")[2] if "─\n" in text else text
    return [line.split() for line in body.splitlines() if line.strip()]


def status_of(client: Path, job: str) -> JobStatus:
    """A job in status.json, which the sensor reads."""
    status = read_status(client / "_mmmeta" / "local" / "status.json")
    assert status is not None
    return status.jobs[job]
