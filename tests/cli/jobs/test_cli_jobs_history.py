"""jobs history: runs and files, attempt by attempt."""

from __future__ import annotations

import json
from pathlib import Path

from cli_support import Run, lines, rows


def test_history_answers_what_a_run_did_and_what_happened_to_a_file(ran: Path, run: Run) -> None:
    """The latest first, of all jobs or one; a run of the command line has an id as well."""
    report = json.loads(run("run", "--json", "--limit", "1").stdout)
    found = lines(run("jobs", "history", "--json").stdout)
    assert [(attempt["job"], attempt["status"]) for attempt in found].count(("contracts", "done")) == 2
    first = found[-1]["run_id"]
    assert first
    assert first != report["jobs"][0]["run_id"]
    of_run = lines(run("jobs", "history", "--run", str(first)[:8], "--json").stdout)
    assert len(of_run) == len(found)
    of_file = lines(run("jobs", "history", "everything", "--file", "b2", "--json").stdout)
    assert [(attempt["status"], attempt["error_message"]) for attempt in of_file] == [("failed", "no reports here")]
    table = run("jobs", "history", "--limit", "2")
    assert len(rows(table.stdout)) == 2
    assert "the latest 2" in table.stderr
    assert "nothing in the history" in run("jobs", "history", "--file", "nobody").stderr
