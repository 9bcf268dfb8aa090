"""What comes from the remote, and what a terminal or a shell makes of the output."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli_support import Run, command, sync, write

from mmmeta import mmmeta

NASTY = "x\x1b]0;owned\x07\x1b[2J\r\nAll is well"
SHOWN = "x\\x1b]0;owned\\x07\\x1b[2J\\x0d\\nAll is well"

PROJECT = """
version: 1
metadirs:
  archive:
    path: ./client
    jobs:
      all: {call: {function: "cli_sample:refuse"}, attempts: 1}
"""


@pytest.fixture
def nasty(project: Path, server: Path, client: Path) -> Path:
    """A file whose name and whose error would steer the terminal, beside three others."""
    write(server, "n.json", {"content_hash": f"n{NASTY}", "title": NASTY, "document_type": "report"})
    with mmmeta(server) as m:
        m.generate()
    sync(server, client)
    project.write_text(PROJECT)
    (project.parent / "cli_sample.py").write_text("def refuse(file): raise ValueError(file['title'])\n")
    return project


def test_nothing_from_the_remote_steers_the_terminal(nasty: Path, run: Run) -> None:
    """Control characters of names and errors are shown, not sent; nothing passes for a line of mmmeta's."""
    for words in (["run"], ["why", f"n{NASTY}", "all"], ["jobs", "failed"], ["jobs", "history"], ["find"], ["jobs"]):
        result = run(*words, code=None)
        assert not {character for character in result.output if character < " "} - {"\n"}, words
        assert "\nAll is well" not in result.output
        if words[0] in ("run", "why"):
            assert f"ValueError: {SHOWN}" in result.output
    result = run("why", f"nosuch{NASTY}", "all", code=1)
    assert "\x1b" not in result.output
    assert "\\x1b" in result.output


def test_programs_get_what_is_there(nasty: Path, run: Run) -> None:
    """JSON has its own way to write such characters."""
    run("run", code=3)
    failed = [json.loads(line) for line in run("jobs", "failed", "--json").stdout.splitlines()]
    assert NASTY in {entry["error_message"] for entry in failed}


def test_a_closed_stdout_is_no_error_and_no_database(project: Path) -> None:
    """The shell's ``>&-``: nobody reads it, and no database is opened in its place."""
    command("run")
    for words in ("jobs", "status", "run"):
        ended = subprocess.run(
            ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "mmmeta", words],
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert "Traceback" not in ended.stderr
        assert ended.returncode == 0


def test_closed_pipe_is_quiet(tmp_path: Path) -> None:
    """``| head`` ends the command without a word."""
    folder = tmp_path / "many"
    folder.mkdir()
    with mmmeta(folder) as m:
        m.files.insert_many({"content_hash": f"{number:040}", "text": "x" * 200} for number in range(5000))
    for words in ("dump", "dump --csv", "find --json", "find --limit 0"):
        script = f"{sys.executable} -m mmmeta --metadir {folder} {words} | head -n 1"
        result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
        assert result.stdout.count("\n") == 1
        assert result.stderr in ("", "5,000 files\n")


def test_a_closed_pipe_is_no_error(ran: Path) -> None:
    """`mmmeta jobs history | head -1`."""
    shell = f"{sys.executable} -m mmmeta jobs history --json | head -1"
    result = subprocess.run(["bash", "-o", "pipefail", "-c", shell], capture_output=True, text=True, check=False)
    assert result.stderr == ""
    assert command("jobs", "nonsense").returncode == 2
