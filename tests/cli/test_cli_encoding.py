"""A stdout that is not UTF-8: what a cron job, an old terminal or a container without a locale has."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_support import Run, sync, write

from mmmeta import mmmeta

NAME = "дело-№7"
TITLE = "Verträge – über 5 €"
PROJECT = """
version: 1
metadirs:
  archive:
    path: ./client
    jobs:
      all: {call: {function: "cli_sample:refuse"}, attempts: 1}
"""


@pytest.fixture
def cyrillic(project: Path, server: Path, client: Path) -> Path:
    """A file whose name and title no Latin-1 has, merged, and dead in a job."""
    write(server, "n.json", {"content_hash": NAME, "title": TITLE, "document_type": "report"})
    with mmmeta(server) as m:
        m.generate()
    sync(server, client)
    project.write_text(PROJECT)
    (project.parent / "cli_sample.py").write_text("def refuse(file): raise ValueError(file['title'])\n")
    assert in_latin_1(project, "run").returncode == 3
    return project


def in_latin_1(project: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    return subprocess.run(
        [sys.executable, "-m", "mmmeta", *words], capture_output=True, check=False, cwd=project.parent, env=environment
    )


@pytest.mark.parametrize(
    "words",
    [
        ("find", "--columns", "content_hash,title"),
        ("jobs", "failed"),
        ("jobs", "history"),
        ("why", NAME, "all"),
        ("find", "--help"),
    ],
    ids=" ".join,
)
def test_what_the_encoding_has_not_is_escaped_for_people(cyrillic: Path, words: tuple[str, ...]) -> None:
    """The rest is shown, and what the encoding has is what it is."""
    result = in_latin_1(cyrillic, *words)
    assert result.returncode in (0, 3)
    assert b"Traceback" not in result.stderr
    shown = (result.stdout + result.stderr).decode("latin-1")
    if "--help" not in words:
        assert "\\u0434\\u0435\\u043b\\u043e" in shown
        assert "Verträge" in shown or words == ("jobs", "history")


def test_json_and_csv_are_utf_8_whatever_the_terminal_has(cyrillic: Path) -> None:
    """A program reads them, and JSON has no other encoding."""
    for words in (("find", "--json"), ("dump",), ("dump", "--json", "--columns", "content_hash,title")):
        rows = [json.loads(line) for line in in_latin_1(cyrillic, *words).stdout.decode("utf-8").splitlines()]
        assert {row["content_hash"]: row["title"] for row in rows}[NAME] == TITLE
    text = in_latin_1(cyrillic, "dump", "--csv", "--columns", "content_hash,title").stdout.decode("utf-8")
    assert [NAME, TITLE] in list(csv.reader(text.splitlines()))
    for words in (
        ("jobs", "failed", "--each", "--json"),
        ("jobs", "history", "--json"),
        ("why", NAME, "all", "--json"),
    ):
        lines = in_latin_1(cyrillic, *words).stdout.decode("utf-8").splitlines()
        assert NAME in [json.loads(line)["file"] for line in lines]
    (report,) = in_latin_1(cyrillic, "jobs", "retry", "all", NAME, "--json").stdout.decode("utf-8").splitlines()
    assert json.loads(report)["retried"] == 1
    (report,) = in_latin_1(cyrillic, "run", "--json").stdout.decode("utf-8").splitlines()
    assert NAME in [failure["file"] for failure in json.loads(report)["jobs"][0]["failures"]]


def test_a_store_value_that_the_encoding_has_not(cyrillic: Path) -> None:
    """Escaped as all that is for people; whole in JSON."""
    assert in_latin_1(cyrillic, "store", "set", "local_note", NAME).returncode == 0
    assert b"\\u0434" in in_latin_1(cyrillic, "store", "get", "local_note").stdout
    assert json.loads(in_latin_1(cyrillic, "store", "get", "local_note", "--json").stdout) == NAME


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("why", "\udcff", "contracts"), 1, "there is no file"),
        (("jobs", "retry", "contracts", "\udcff"), 1, "there is no file"),
        (("jobs", "dismiss", "contracts", "\udcff"), 1, "there is no file"),
        (("jobs", "adopt", "contracts", "\udcff"), 1, "there is no file"),
        (("jobs", "history", "--file", "\udcff"), 0, "nothing in the history"),
        (("jobs", "history", "--run", "\udcff"), 0, "nothing in the history"),
    ],
    ids=lambda words: " ".join(words[:2]) if isinstance(words, tuple) else "",
)
def test_an_argument_that_is_no_text_is_nobodys_name(
    words: tuple[str, ...], code: int, said: str, ran: Path, run: Run
) -> None:
    """Bytes that are not UTF-8 come as halves of surrogate pairs, which no database holds."""
    assert said in run(*words, code=code).stderr
