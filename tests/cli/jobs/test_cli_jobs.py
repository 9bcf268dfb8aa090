"""jobs: the table, and how jobs are named in all verbs."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from cli_support import PROJECT, Run, kept, lines, rows, status_of, sync

from mmmeta import File, mmmeta

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


def test_a_job_that_lives_elsewhere_is_not_to_be_forgotten(
    ran: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a component, or made in Python, stand in no project file; only of one that is idle somebody may be asked."""
    from mmmeta.cli.jobs import overview

    ran.write_text(PROJECT.replace("      everything:", "      all_of_them:"))
    said = run("jobs").stderr
    assert (
        "everything: not in the project file: made in Python or by a component, or taken out or renamed there" in said
    )
    assert "`mmmeta jobs rename everything NEW`" in said
    assert "jobs forget" not in said
    monkeypatch.setattr(overview, "IDLE", timedelta(0))
    assert "If nothing makes it any more, `mmmeta jobs forget everything` clears it" in run("jobs").stderr


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
    assert "would process 1 file (11 bytes)\n" in planned
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


def test_where_there_are_no_jobs_at_all(client: Path, run: Run) -> None:
    """Every verb that takes all jobs says so, and it is no error."""
    run("--metadir", client, "update")
    for words in ((), ("plan",), ("failed",)):
        result = run("--metadir", client, "jobs", *words)
        assert (result.stdout, result.stderr) == ("", "client: no jobs: there is no project file\n")


def test_a_job_that_is_named_twice_is_meant_once(ran: Path, run: Run) -> None:
    """Whether by its short name or its full one."""
    assert run("jobs", "plan", "contracts", "archive/contracts").stdout.count("would process") == 1
