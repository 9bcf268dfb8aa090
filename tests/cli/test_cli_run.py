"""run: every job, each file once, exit codes, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from cli_support import PROJECT, Run, command, kept, sync, tree, wait_for, write

from mmmeta.errors import OutdatedWarning


def test_run_updates_and_runs_every_job(project: Path, tmp_path: Path) -> None:
    """The one line for cron: each file once, failures named, exit code 3; then nothing is left but what waits."""
    first = command("run")
    assert first.returncode == 3, first.stderr
    lines = first.stdout.splitlines()
    assert lines[0].startswith("archive: 3 added (revision 1")
    assert lines[1].startswith("archive/contracts: 2 done")
    assert lines[2].startswith("archive/everything: 2 done, 1 failed")
    assert "b2: ValueError: no reports here" in first.stderr
    assert first.stderr.count("made an index over document_type, by which jobs select") == 1
    assert sorted((tmp_path / "seen").read_text().split()) == ["a1", "a1", "c3", "c3"]
    second = command("run")
    assert second.returncode == 0, second.stderr
    assert "archive/contracts: nothing to do" in second.stdout
    assert "index" not in second.stderr
    assert sorted((tmp_path / "seen").read_text().split()) == ["a1", "a1", "c3", "c3"]


def test_run_json_is_one_object_a_metadir(project: Path, run: Run) -> None:
    """The update's report and each job's."""
    report = json.loads(run("run", "--json", code=3).stdout)
    assert report["metadir"] == "archive"
    assert report["update"]["added"] == 3
    assert [(job["job"], job["done"], job["failed"]) for job in report["jobs"]] == [
        ("contracts", 2, 0),
        ("everything", 2, 1),
    ]
    assert report["jobs"][1]["failures"][0]["error_type"] == "ValueError"


def test_run_takes_jobs_by_name(project: Path, tmp_path: Path, run: Run) -> None:
    """Short or full; a wrong name is met with the near misses, before anything happens."""
    assert "archive/everything" not in run("run", "contracts").stdout
    assert "archive/everything" in run("run", "archive/everything", code=3).stdout
    before = kept(tmp_path / "client")
    for name in ("contract", "archive/contract"):
        assert "contracts" in run("run", name, code=2).stderr
    assert kept(tmp_path / "client") == before


def test_run_limits_and_plans(project: Path, tmp_path: Path, run: Run) -> None:
    """--limit leaves the rest pending; --dry-run says how many there are and does nothing."""
    run("run", "contracts", "--limit", "1")
    assert len((tmp_path / "seen").read_text().split()) == 1
    before = tree(tmp_path / "client")
    assert "archive/contracts: would process 1 file" in run("run", "--dry-run").stdout
    assert json.loads(run("run", "--dry-run", "--json", "contracts").stdout)["jobs"][0]["files"] == 1
    assert tree(tmp_path / "client") == before


def test_a_dry_run_says_that_it_does_not_count_what_waits_to_be_merged(project: Path, tmp_path: Path, run: Run) -> None:
    """The number is of what is merged; a run would merge first."""
    run("run", "contracts")
    assert run("jobs", "plan", "contracts").stdout.startswith("archive/contracts: would process 0 files\n")
    write(tmp_path / "server", "new.json", {"content_hash": "new", "document_type": "contract"})
    run("--metadir", tmp_path / "server", "generate")
    sync(tmp_path / "server", tmp_path / "client")
    words = "would process 0 files of what is merged; new metadata is not counted until `mmmeta update`"
    with warnings.catch_warnings():
        warnings.simplefilter("always", OutdatedWarning)
        assert words in run("run", "--dry-run", "contracts").stdout
        assert words in run("jobs", "plan", "contracts").stdout
        assert json.loads(run("jobs", "plan", "contracts", "--json").stdout.splitlines()[-1])["outdated"] is True


def test_dry_run_of_a_changed_selection_writes_nothing(project: Path, tmp_path: Path, run: Run) -> None:
    """It is shown before it counts."""
    run("run", "contracts")
    project.write_text(PROJECT.replace("document_type: contract", "document_type: [contract, report]"))
    before = tree(tmp_path / "client")
    assert "archive/contracts: would process 1 file" in run("run", "contracts", "--dry-run").stdout
    assert tree(tmp_path / "client") == before


def test_run_without_jobs_is_an_update(client: Path, run: Run) -> None:
    """It says that there are none."""
    result = run("--metadir", client, "run")
    assert "3 added" in result.stdout
    assert "no jobs" in result.stderr


def test_fail_run_above_makes_the_run_an_error(project: Path, run: Run) -> None:
    """What the project file calls too much is exit code 1."""
    project.write_text(PROJECT + "        fail_run_above: 0.1\n")
    run("run", code=1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_run_after_the_file_at_hand(slow_project: Path, tmp_path: Path, number: signal.Signals) -> None:
    """Nothing stays claimed, what is left is done next time, and the exit code says what stopped it."""
    with subprocess.Popen([sys.executable, "-m", "mmmeta", "run"], text=True, stderr=subprocess.PIPE) as running:
        wait_for((tmp_path / "seen").exists)
        running.send_signal(number)
        _, said = running.communicate(timeout=30)
        assert running.returncode == 128 + number
    assert "Stopping" in said
    seen = (tmp_path / "seen").read_text().split()
    assert len(seen) < 3
    status = json.loads(command("status", "--json").stdout)["jobs"]["slow"]
    assert (status["claimed"], status["done"], status["pending"]) == (0, len(seen), 3 - len(seen))
    assert command("run").returncode == 0
    assert sorted((tmp_path / "seen").read_text().split()) == ["a1", "b2", "c3"]


def test_a_second_signal_ends_at_once_and_gives_claims_back(project: Path, tmp_path: Path) -> None:
    """Also within a file that takes for ever; it counts as untried."""
    (tmp_path / "cli_stuck.py").write_text(
        "import os, time\ndef stuck(file):\n    open(os.environ['SEEN'], 'a').close()\n    time.sleep(600)\n"
    )
    project.write_text(
        PROJECT.split("      contracts:")[0] + '      stuck:\n        call: {function: "cli_stuck:stuck"}\n'
    )
    with subprocess.Popen([sys.executable, "-m", "mmmeta", "run"], text=True, stderr=subprocess.PIPE) as running:
        wait_for((tmp_path / "seen").exists)
        assert running.stderr is not None
        running.send_signal(signal.SIGTERM)
        assert "once more" in running.stderr.readline()
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 128 + signal.SIGTERM
    status = json.loads(command("status", "--json").stdout)["jobs"]["stuck"]
    assert (status["claimed"], status["pending"]) == (0, 3)
    assert command("jobs", "history", "--json").stdout == ""


def test_a_stopped_run_says_so_although_files_failed(project: Path, tmp_path: Path) -> None:
    """The exit code of the signal, not 3; and what was done so far."""
    (tmp_path / "cli_fails.py").write_text(
        "import os, time\ndef fails(file):\n    open(os.environ['SEEN'], 'a').close()\n    time.sleep(0.5)\n"
        "    raise ValueError('no')\n"
    )
    project.write_text(
        PROJECT.split("      contracts:")[0] + '      bad:\n        call: {function: "cli_fails:fails"}\n'
    )
    words = [sys.executable, "-m", "mmmeta", "run"]
    with subprocess.Popen(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        wait_for((tmp_path / "seen").exists)
        running.send_signal(signal.SIGTERM)
        said, _ = running.communicate(timeout=30)
    assert running.returncode == 128 + signal.SIGTERM
    assert "archive/bad: 1 failed; 2 still pending, 1 due later" in said
    assert "stopped" in said


def test_a_function_may_stand_beside_the_project_file(project: Path, tmp_path: Path) -> None:
    """Wherever the command is called from, as cron does."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = command("--project", project, "run", "contracts", cwd=tmp_path / "elsewhere", env=environment)
    assert result.returncode == 0, result.stderr
    assert "archive/contracts: 2 done" in result.stdout
