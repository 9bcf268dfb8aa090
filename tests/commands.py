"""Small programs in Python for tests of the action ``command``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from archives import Archive

from mmmeta import RunReport


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def publish(archive: Archive, *names: str, **keys: Any) -> None:
    for name in names:
        archive.write(name, keys)
    archive.deliver()


def run(archive: Archive, folder: Path, arguments: list[str], **rules: Any) -> RunReport:
    return archive.client.job("j", command={"run": arguments, "folder": str(folder)}, **rules).run(run_id="r1")


def failures(report: RunReport) -> dict[str, str]:
    return {failure.file: f"{failure.error_type}: {failure.message}" for failure in report.failures}
