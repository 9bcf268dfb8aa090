"""A changed target is said by run, jobs, plan and check, with the one command for each wish."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_support import Run, lines

PROJECT = """
version: 1
metadirs:
  archive:
    path: ./client
    jobs:
      load_all:
        load: {to: "sqlite:///docs.db", table: docs}
"""
SENTENCE = "3 files are done elsewhere than where the job points now: 3 in sqlite:///"


@pytest.fixture
def moved(project: Path, run: Run) -> Path:
    """What was done before the target was changed."""
    project.write_text(PROJECT)
    run("run")
    project.write_text(PROJECT.replace("docs.db", "docs_neu.db"))
    return project


def test_it_is_said_until_it_is_done_again(moved: Path, run: Run) -> None:
    """At every run, in jobs, plan and check; and then no more."""
    for words, code in (("run", 3), ("run", 3), ("jobs", 0), ("jobs plan", 0), ("check", 3)):
        said = " ".join(run(*words.split(), code=code).output.split())
        assert SENTENCE in said, words
        assert "docs.db, table 'docs'" in said
        assert "mmmeta jobs retry" in said
        assert "mmmeta jobs adopt" in said
        assert "load_all --elsewhere" in said
    (report,) = lines(run("run", "--json", code=3).stdout)
    assert str(report["jobs"][0]["elsewhere"]).startswith(SENTENCE)  # type: ignore[index]
    assert "3 files would be due" in run("jobs", "retry", "load_all", "--elsewhere", "--dry-run").stdout
    assert "3 files are due now" in run("jobs", "retry", "load_all", "--elsewhere").stdout
    assert "3 done" in run("run").stdout
    assert (moved.parent / "docs_neu.db").exists()
    for words in ("run", "jobs", "jobs plan", "check"):
        assert "elsewhere" not in run(*words.split()).output


def test_it_is_said_until_it_is_taken_as_it_is(moved: Path, run: Run) -> None:
    """What is done stays so, and check finds it where it is."""
    assert "3 files would be adopted" in run("jobs", "adopt", "load_all", "--elsewhere", "--dry-run").stdout
    assert "3 files adopted" in run("jobs", "adopt", "load_all", "--elsewhere").stdout
    for words in ("run", "jobs", "jobs plan", "check"):
        assert "elsewhere" not in run(*words.split()).output
    (moved.parent / "docs.db").unlink()
    assert "docs.db does not exist" in " ".join(run("check", code=3).output.split())


def test_what_does_not_go_together(moved: Path, run: Run) -> None:
    """Elsewhere is a choice of files of its own."""
    assert "--elsewhere goes with neither" in run("jobs", "retry", "load_all", "a1", "--elsewhere", code=2).output
    assert "Say in one way" in run("jobs", "adopt", "load_all", "a1", "--elsewhere", code=2).output
