"""A folder as people have it becomes an archive with three commands, and stays one when the folder changes."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import unicodedata
from contextlib import closing
from pathlib import Path

import pytest
from messy import LITTER, Messy, change, make

DONE, WITH_PROBLEMS = 0, 3

COUNT = re.compile(r"([\d,]+) (added|changed|deleted|unchanged|done|failed|problems?)")


def mmmeta(folder: Path, *words: str, code: int = DONE) -> str:
    """The command in a process of its own; what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MMMETA")}
    result = subprocess.run(
        [sys.executable, "-m", "mmmeta", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout + result.stderr


def counts(output: str, line: str = "") -> dict[str, int]:
    """What was counted in the lines of an output that hold a word."""
    told = "\n".join(one for one in output.splitlines() if line in one)
    return {what: int(number.replace(",", "")) for number, what in COUNT.findall(told)}


def wanted(messy: Messy) -> dict[str, bytes]:
    """What has to arrive, by its path: the documents with readable metadata and those without any."""
    return {nfc(document.path): document.content for document in (*messy.described(), *messy.bare())}


def problems(messy: Messy) -> int:
    """What has to be named: metadata that cannot be read, and metadata whose document is missing."""
    return len(messy.broken) + sum(len(document.sidecars) for document in messy.documents if not document.there)


def downloaded(folder: Path) -> dict[str, bytes]:
    return {nfc(path.relative_to(folder).as_posix()): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(folder: Path) -> dict[str, sqlite3.Row]:
    """The imported rows by their path."""
    with closing(sqlite3.connect(folder / "documents.db")) as connection:
        connection.row_factory = sqlite3.Row
        return {row["path"]: row for row in connection.execute("SELECT * FROM documents")}


def nfc(path: str) -> str:
    return unicodedata.normalize("NFC", path)


@pytest.mark.parametrize("inside", [False, True], ids=["above", "inside"])
def test_three_commands_and_no_repair_script(tmp_path: Path, inside: bool) -> None:
    """Typed above the folder or in it; then again after three months of use, with exact counts."""
    root = tmp_path / "Meine Dokumente"
    messy = make(root)
    assert len(messy.there()) == 310
    here = root if inside else tmp_path

    begun = json.loads(mmmeta(here, "init", "--json", *([] if inside else [root.name])))
    assert (begun["documents"], begun["ignored"]) == (310, len(LITTER) - 1)  # the trash counts once
    assert begun["without_document"] == 3
    assert begun["set_aside"] == len(messy.broken)
    assert begun["unique"] == "path"
    assert set(begun["dates"]) == {"date"}

    first = wanted(messy)
    generated = mmmeta(here, "generate", "--no-meta", code=WITH_PROBLEMS)
    assert counts(generated) == {"added": len(first), "problems": problems(messy)}
    assert counts(mmmeta(here, "run"), "documents:") == {"done": len(first)}
    assert downloaded(here / "downloads") == first
    table = rows(here)
    assert set(table) == set(first)
    for document in messy.described():
        row = table[nfc(document.path)]
        assert row["content_hash"] in (document.sha1, None)
        assert row["date"] is None or re.fullmatch(r"\d{4}-\d\d-\d\d", row["date"])

    assert counts(mmmeta(here, "generate", "--no-meta", code=WITH_PROBLEMS))["unchanged"] == len(first)
    assert "done" not in counts(mmmeta(here, "run"))

    change(messy)
    now = wanted(messy)
    assert len(now) == len(first) - 5  # ten gone, five without their documents, ten new
    generated = mmmeta(here, "generate", "--no-meta", "--ensure", code=WITH_PROBLEMS)
    assert counts(generated) == {
        "added": 10,
        "changed": 20,
        "deleted": 10,
        "unchanged": len(first) - 35,
        "problems": problems(messy),
    }
    ran = mmmeta(here, "run")
    assert counts(ran, "download_documents:") == {"done": 20}
    assert counts(ran, "load_documents:") == {"done": 30}
    gone = first.keys() - now.keys()
    assert downloaded(here / "downloads") == {**{path: first[path] for path in gone}, **now}
    table = rows(here)
    assert set(table) == set(first) | set(now)
    assert [row["title"] for row in table.values()].count("corrected") == 10
