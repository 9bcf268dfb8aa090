"""jobs: the table, plan, failed, retry, forget, history; why and check."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli_support import PROJECT, Run, command, kept, sync

from mmmeta import File, JobStatus, mmmeta, read_status

TWO = """
version: 1
metadirs:
  one:
    path: ./client
    jobs: {contracts: {where: {document_type: contract}, call: {function: "cli_sample:remember"}}}
  two:
    path: ./other
    jobs: {contracts: {call: {function: "cli_sample:remember"}}}
"""


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


@pytest.fixture
def ran(project: Path, run: Run) -> Path:
    """Both jobs have run: two contracts done, and a report that failed."""
    run("run", code=3)
    return project


def test_the_table_says_how_far_each_job_is(ran: Path, run: Run) -> None:
    """Selected, pending, claimed, done, failed, dead; looking changes nothing."""
    before = kept(ran.parent / "client")
    result = run("jobs")
    assert rows(result.stdout) == [
        ["contracts", "2", "0", "0", "2", "0", "0"],
        ["everything", "3", "0", "0", "2", "1", "0"],
    ]
    assert "everything: the next failed file is tried again after" in result.stderr
    (report,) = lines(run("jobs", "--json").stdout)
    jobs = report["jobs"]
    assert isinstance(jobs, list)
    assert [(job["job"], job["selected"], job["done"], job["failed"], job["changed"]) for job in jobs] == [
        ("contracts", 2, 2, 0, False),
        ("everything", 3, 2, 1, False),
    ]
    assert jobs[0]["selection"] == 'document_type is "contract"'
    assert kept(ran.parent / "client") == before


def test_the_table_before_the_first_update_creates_nothing(project: Path, run: Run) -> None:
    """The jobs are there, and what to do first."""
    before = kept(project.parent / "client")
    result = run("jobs")
    assert rows(result.stdout) == [["contracts"], ["everything"]]
    assert "never updated" in result.stderr
    for words in (["plan"], ["failed"], ["retry", "contracts"], ["why", "a1", "contracts"]):
        words = words if words[0] == "why" else ["jobs", *words]
        assert "run `mmmeta update` first" in run(*words, code=1).stderr
    assert kept(project.parent / "client") == before


def test_the_table_names_what_was_set_aside_and_how_long_files_wait(project: Path, run: Run) -> None:
    """A selection that shrank, and the age of the oldest pending file."""
    run("update")
    assert rows(run("jobs").stdout)[0][-1].startswith("second")
    project.write_text(PROJECT.replace("document_type: contract", "pages: 3"))
    assert "contracts: its definition changed" in run("jobs").stderr
    run("run", "contracts")
    result = run("jobs")
    assert "contracts: set aside: 1 file: left the selection when the job's definition changed" in result.stderr
    (report,) = lines(run("jobs", "--json").stdout)
    jobs = report["jobs"]
    assert isinstance(jobs, list)
    assert jobs[0]["set_aside"] == {"LeftSelection": 1}


def test_a_plan_shows_a_changed_definition_before_it_counts(ran: Path, run: Run) -> None:
    """How many become eligible, how many no longer are, what lacks a key; nothing is written."""
    ran.write_text(PROJECT.replace("document_type: contract", "pages: {'>=': 12}, tags: {'!=': null}"))
    before = kept(ran.parent / "client")
    text = run("jobs", "plan", "contracts").stdout
    assert text.startswith("archive/contracts: would process 1 file\n")
    assert (
        "changed since it was last evaluated: 1 file newly eligible, 2 no longer, 2 of them done; what is done stays done"
        in text
    )
    assert "selection: pages is at least 12 and tags is given" in text
    (plan,) = lines(run("jobs", "plan", "contracts", "--json").stdout)
    assert (plan["job"], plan["files"], plan["newly_selected"], plan["changed"]) == ("contracts", 1, 1, True)
    assert kept(ran.parent / "client") == before


def test_a_plan_shows_another_action(ran: Path, run: Run) -> None:
    """What is done stays done, and how to do it again; a function that is not there is named before the run."""
    assert "changed" not in run("jobs", "plan").stdout
    ran.write_text(
        PROJECT.replace("document_type: contract", "document_type: report").replace("backoff: 1h", "backoff: 2h")
    )
    text = run("jobs", "plan").stdout
    assert text.count("the action, its target or a rule changed") == 1
    assert "`mmmeta jobs forget archive/everything`" in text
    ran.write_text(PROJECT.replace("cli_sample:remember", "cli_sample:rememember"))
    text = run("jobs", "plan", "contracts", code=1).stdout
    assert "the action, its target or a rule changed: what is done stays done" in text
    assert "cannot run: job 'contracts': 'cli_sample' has no function 'rememember'. Did you mean 'remember'?" in text
    (plan,) = lines(run("jobs", "plan", "contracts", "--json", code=1).stdout)
    assert (plan["changed"], plan["redefined"], plan["left_done"]) == (False, True, 0)


def test_failed_files_and_their_errors(ran: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a table, on a narrow terminal with the error below its row, and as JSON lines with the traceback."""
    result = run("jobs", "failed", "everything")
    (row,) = rows(result.stdout)
    assert row[:3] == ["b2", "failed", "1"]
    assert row[-4:] == ["ValueError:", "no", "reports", "here"]
    assert "archive/everything: 1 file failed" in result.stderr
    (entry,) = lines(run("jobs", "failed", "--json").stdout)
    assert (entry["metadir"], entry["job"], entry["file"], entry["status"]) == ("archive", "everything", "b2", "failed")
    assert "no reports here" in str(entry["error_lines"])
    assert run("jobs", "failed", "--dead", "--json").stdout == ""
    monkeypatch.setenv("COLUMNS", "40")
    assert run("jobs", "failed", "everything").stdout.splitlines()[-1] == "    ValueError: no reports here"


def test_retry(ran: Path, tmp_path: Path, run: Run) -> None:
    """Failed files, or named ones that are done; what is left alone is named; a wrong name is met before anything."""
    assert "archive/everything: 1 file would be due now" in run("jobs", "retry", "everything", "--dry-run").stdout
    assert "nothing to do" in run("run", "everything").stdout
    assert "archive/everything: 1 file is due now" in run("jobs", "retry", "everything").stdout
    run("run", "everything", code=3)
    result = run("jobs", "retry", "contracts", "a1", "b2")
    assert "archive/contracts: 1 file is due now" in result.stdout
    assert "left alone: b2: the job does not select it" in result.stderr
    run("run", "contracts")
    assert (tmp_path / "seen").read_text().split().count("a1") == 3
    assert "Did you mean 'a1'" in run("jobs", "retry", "contracts", "c3", "a", code=1).stderr
    (report,) = lines(run("jobs", "retry", "contracts", "--json").stdout)
    assert (report["retried"], report["left_alone"]) == (0, {})


def test_dead_files_wait_for_a_person(project: Path, run: Run) -> None:
    """They are shown, retry says how to take them, and does."""
    project.write_text(PROJECT.replace("backoff: 1h", "attempts: 1"))
    run("run", code=3)
    assert rows(run("jobs").stdout)[1] == ["everything", "3", "0", "0", "2", "0", "1"]
    assert "mmmeta jobs retry archive/everything --dead" in run("jobs", "failed", "everything", "--dead").stderr
    result = run("jobs", "retry", "everything")
    assert "0 files are due now" in result.stdout
    assert "1 file dead: add --dead" in result.stderr
    assert "1 file is due now" in run("jobs", "retry", "everything", "--dead").stdout


def test_forget_asks_or_is_told(ran: Path, tmp_path: Path, run: Run) -> None:
    """Without a terminal it refuses; with --yes the next run does every file again."""
    assert "add --yes" in run("jobs", "forget", "contracts", code=2).stderr
    assert "2 files would be forgotten" in run("jobs", "forget", "contracts", "--dry-run").stdout
    assert rows(run("jobs").stdout)[0][4] == "2"
    assert "archive/contracts: 2 files forgotten" in run("jobs", "forget", "contracts", "--yes").stdout
    assert "2 done" in run("run", "contracts").stdout
    assert (tmp_path / "seen").read_text().split().count("a1") == 3


@pytest.mark.parametrize(("answer", "left"), [("n", 2), ("y", 0)])
def test_forget_on_a_terminal(ran: Path, run: Run, answer: str, left: int) -> None:
    """The question says what is at stake."""
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "mmmeta", "jobs", "forget", "contracts"]
    with subprocess.Popen(words, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as asking:
        os.close(theirs)
        os.write(ours, f"{answer}\n".encode())
        _, asked = asking.communicate(timeout=30)
        os.close(ours)
    assert "forget what is known of 2 files" in asked
    assert asking.returncode == (0 if answer == "y" else 1)
    (report,) = lines(run("jobs", "--json").stdout)
    jobs = report["jobs"]
    assert isinstance(jobs, list)
    assert jobs[0]["done"] == (left or None)


def test_a_job_that_the_project_file_lost_can_be_looked_at_and_forgotten(ran: Path, run: Run) -> None:
    """A renamed job leaves its ledger behind; it cannot be run, and ``retry`` says who would have to."""
    ran.write_text(PROJECT.replace("      everything:", "      all_of_them:"))
    assert "everything: not in the project file" in run("jobs").stderr
    assert "b2" in run("jobs", "failed", "everything").stdout
    assert "a1" in run("jobs", "history", "everything").stdout
    run("run", "everything", code=2)
    assert "stands in no project file" in run("jobs", "retry", "everything", "--dry-run").stderr
    assert "3 files forgotten" in run("jobs", "forget", "archive/everything", "--yes").stdout
    run("jobs", "failed", "everything", code=2)


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


def test_why(ran: Path, run: Run) -> None:
    """Selected or not, by which condition not, and what happened."""
    text = run("why", "b2", "contracts").stdout
    assert "b2: never selected" in text
    assert 'does not hold: document_type is "contract". The file has document_type: "report".' in text
    assert "a1: done" in run("why", "a1", "archive/contracts").stdout
    failed = run("why", "b2", "everything").stdout
    assert "failed 1 of 5 times" in failed
    assert "no reports here" in failed
    (report,) = lines(run("why", "b2", "contracts", "--json").stdout)
    assert report["selected"] is False
    assert report["unmet"] == [
        {"condition": 'document_type is "contract"', "actual": 'The file has document_type: "report"'}
    ]
    assert "Did you mean 'b2'" in run("why", "b", "contracts", code=1).stderr
    assert "Did you mean 'contracts'" in run("why", "b2", "contract", code=2).stderr


def test_two_metadirs_with_a_job_of_one_name(project: Path, server: Path, tmp_path: Path, run: Run) -> None:
    """The bare name is an error that lists both; the full one is understood everywhere."""
    sync(server, tmp_path / "other")
    project.write_text(TWO)
    run("run")
    for words in (
        ["jobs", "plan"],
        ["jobs", "failed"],
        ["jobs", "retry"],
        ["jobs", "forget"],
        ["jobs", "history"],
        ["why", "a1"],
        ["run"],
    ):
        assert "one/contracts or two/contracts" in run(*words, "contracts", code=2).stderr
        if words != ["jobs", "forget"]:
            run(*words, "two/contracts")
    assert "3 files forgotten" in run("jobs", "forget", "two/contracts", "--yes").stdout
    assert "2 done" not in run("run", "one/contracts").stdout
    assert [report["metadir"] for report in lines(run("jobs", "--json").stdout)] == ["one", "two"]


def test_check_finds_what_is_not_as_it_should_be(ran: Path, run: Run) -> None:
    """Exit code 3, and the problems as a table and as JSON; what cannot be looked for is named."""
    result = run("check")
    assert result.stdout.startswith("archive: no problems: compared the cells of 3 files")
    assert "contracts, everything" in result.stderr
    state = ran.parent / "client" / "_mmmeta" / "local" / "state.db"
    import sqlite3

    connection = sqlite3.connect(state)
    connection.execute("UPDATE files SET title = 'forged' WHERE content_hash = 'a1'")
    connection.commit()
    connection.close()
    broken = run("check", code=3)
    assert "1 problem" in broken.stdout
    assert "a1" in broken.stdout
    (report,) = lines(run("check", "--json", code=3).stdout)
    assert report["problems"] == 1
    named = report["named"]
    assert isinstance(named, list)
    assert named[0]["file"] == "a1"


def test_check_before_the_first_update(client: Path, run: Run) -> None:
    """It says what to do."""
    assert "run `mmmeta update` first" in run("--metadir", client, "check", code=1).stderr


def test_jobs_without_a_project_file(client: Path, run: Run) -> None:
    """Jobs made in Python, or by a component, are known from the ledger; nobody here can run them."""

    def fail(file: File) -> None:
        raise ValueError("cannot be read")

    with mmmeta(client) as m:
        m.update()
        m.job("mine", where={"document_type": "contract"}, attempts=1, order_by="-title").run(fail)
    before = status_of(client, "mine")
    assert rows(run("--metadir", client, "jobs").stdout)[0][0] == "mine"
    assert "mine: would process 0 files" in run("--metadir", client, "jobs", "plan").stdout
    assert "dead after 1 attempt" in run("--metadir", client, "why", "a1", "mine").stdout
    assert 'document_type is "contract"' in run("--metadir", client, "why", "b2", "mine").stdout
    assert "1 file is due now" in run("--metadir", client, "jobs", "retry", "mine", "a1").stdout
    planned = run("--metadir", client, "jobs", "plan", "mine").stdout
    assert "would process 1 file\n" in planned
    assert "changed" not in planned
    assert 'selection: document_type is "contract"' in planned
    assert "1 file is due now" in run("--metadir", client, "jobs", "retry", "mine", "--dead").stdout
    after = status_of(client, "mine")
    assert (before.dead, after.dead, after.pending, after.fingerprint) == (2, 0, 2, before.fingerprint)
    assert "1 file adopted" in run("--metadir", client, "jobs", "adopt", "mine", "a1").stdout
    assert "nobody here knows what it does" in run("--metadir", client, "run", "mine", code=2).stderr
    assert "It has client/mine" in run("--metadir", client, "jobs", "plan", "other", code=2).stderr
    assert "2 files forgotten" in run("--metadir", client, "jobs", "forget", "mine", "--yes").stdout


def test_a_job_made_in_python_beside_a_project_file(ran: Path, client: Path, run: Run) -> None:
    """What shows its dead files names a command that works."""

    def fail(file: File) -> None:
        raise ValueError("cannot be read")

    with mmmeta(client) as m:
        m.job("mine", where={"document_type": "report"}, attempts=1).run(fail)
    (advice,) = re.findall("mmmeta (jobs retry .*)", run("jobs", "failed", "mine").stderr)
    assert "due now" in run(*advice.split()).stdout
    assert status_of(client, "mine").dead == 0
    assert "mine" not in run("jobs", "plan").stdout


def test_a_closed_pipe_is_no_error(ran: Path) -> None:
    """`mmmeta jobs history | head -1`."""
    shell = f"{sys.executable} -m mmmeta jobs history --json | head -1"
    result = subprocess.run(["bash", "-o", "pipefail", "-c", shell], capture_output=True, text=True, check=False)
    assert result.stderr == ""
    assert command("jobs", "nonsense").returncode == 2


def test_a_job_that_cannot_run_is_named_and_the_others_are_told_of(project: Path, run: Run) -> None:
    """In the table and by plan, which ends with 1."""
    run("update")
    project.write_text(PROJECT.replace("document_type: contract", "documenttype: contract"))
    result = run("jobs")
    assert "contracts: cannot run: job 'contracts': no file has the key 'documenttype'" in result.stderr
    assert rows(result.stdout)[1][:2] == ["everything", "3"]
    planned = run("jobs", "plan", code=1)
    assert "Error: archive/contracts: " in planned.stderr
    assert "archive/everything: would process 3 files" in planned.stdout
