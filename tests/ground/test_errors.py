"""What an error says is to be done."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from archives import Archive, nothing

import mmmeta
import mmmeta_dagster
from mmmeta.errors import MmmetaError, remedy_of
from mmmeta.state import state as state_module

REMEDIES = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room on the disk",
    errno.EACCES: "check the permissions",
    errno.EROFS: "mount it for writing",
    errno.EMFILE: "ulimit -n",
    errno.EIO: "check the path and its disk",
}


@pytest.mark.parametrize("number", REMEDIES, ids=errno.errorcode.get)
def test_the_remedy_fits_what_the_system_says(number: int) -> None:
    """Permissions are to blame for few of these."""
    assert REMEDIES[number] in remedy_of(OSError(number, os.strerror(number)))


def test_a_full_disk_is_no_matter_of_permissions(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the lock of a worker, and for status.json."""
    archive.write("a")
    archive.deliver()
    real = os.open

    def full(*args: Any, **options: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def full_workers(path: Any, *args: Any, **options: Any) -> int:
        return full() if Path(os.fsdecode(path)).parent.name == "workers" else real(path, *args, **options)

    monkeypatch.setattr(os, "open", full_workers)
    with pytest.raises(MmmetaError, match=r"No space left on device; .*make room on the disk"):
        archive.client.job("look").run(nothing)
    monkeypatch.undo()
    monkeypatch.setattr(state_module, "write_status", full)
    archive.write("b")
    archive.publish()
    with pytest.raises(MmmetaError, match="No space left on device; make room on the disk"):
        archive.client.update()


def test_no_message_speaks_of_what_only_a_clone_has() -> None:
    """Who has installed the packages has no Makefile, no examples and no tests."""
    for package in (mmmeta, mmmeta_dagster):
        for path in Path(package.__file__ or "").parent.rglob("*"):
            if path.suffix in (".py", ".json", ".yaml", ".yml", ".md"):
                found = re.findall(
                    r"(?i)\bmake (?:demo|dev|test\S*|install|format)\b|examples/|tests/", path.read_text()
                )
                assert not found, f"{path}: {found}"


EXTRAS = {
    "urllib3": (
        "from mmmeta.documents.web import WebSources; from mmmeta.documents.source import Deadline\n"
        "WebSources(['https']).open('https://h/x', Deadline('x')).__enter__()",
        'pip install "mmmeta[http]"',
    ),
    "s3fs": (
        "from mmmeta.documents.web import WebSources; from mmmeta.documents.source import Deadline\n"
        "WebSources(['s3']).open('s3://h/x', Deadline('x')).__enter__()",
        'pip install "mmmeta[s3]"',
    ),
    "pymysql": (
        "from mmmeta.target.engine import open_engine\nopen_engine('mysql://u:SECRET@h/d')",
        'pip install "mmmeta[mysql]"',
    ),
    "psycopg": (
        "from mmmeta.target.engine import open_engine\nopen_engine('postgresql+psycopg://u:SECRET@h/d')",
        'pip install "mmmeta[postgres]"',
    ),
    "psycopg2": (
        "from mmmeta.target.engine import open_engine\nopen_engine('postgresql+psycopg2://u:SECRET@h/d')",
        "pip install psycopg2-binary",
    ),
    "dagster": ("import mmmeta_dagster", 'pip install "mmmeta[dagster]"'),
}


@pytest.mark.parametrize("module", EXTRAS)
def test_a_package_that_is_missing_is_named_with_the_line_that_installs_it(module: str) -> None:
    """As it can be pasted into a shell; passwords stay out of it."""
    code, line = EXTRAS[module]
    start = f"import sys; sys.modules[{module!r}] = None\n"
    ended = subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert last.endswith(line)
    assert "SECRET" not in last


def test_every_extra_that_an_error_names_exists() -> None:
    """pip only warns of one that does not."""
    project = Path(__file__).parents[2] / "pyproject.toml"
    known = set(re.findall(r"(?m)^(\w+) = \[", project.read_text()))
    named = set()
    for package in (mmmeta, mmmeta_dagster):
        for path in Path(package.__file__ or "").parent.rglob("*.py"):
            named |= set(re.findall(r"mmmeta\[(\w+)\]", path.read_text()))
    assert {"http", "s3", "mysql", "postgres", "dagster"} <= named <= known
