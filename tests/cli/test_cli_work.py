"""work: what is due, by any number of processes; no update, no evaluation."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from cli_support import PROJECT, Run, command, status_of, sync, wait_for, write


def test_work_does_what_an_update_has_found(project: Path, tmp_path: Path, run: Run) -> None:
    """Each file once; what is published meanwhile waits for the next update."""
    run("update")
    write(tmp_path / "server", "new.json", {"content_hash": "new", "document_type": "contract"})
    run("--metadir", tmp_path / "server", "generate")
    sync(tmp_path / "server", tmp_path / "client")
    result = run("work", code=3)
    assert "archive/contracts: 2 done" in result.stdout
    assert "archive/everything: 2 done, 1 failed" in result.stdout
    assert sorted((tmp_path / "seen").read_text().split()) == ["a1", "a1", "c3", "c3"]
    assert "archive/contracts: nothing to do" in run("work", "contracts").stdout


def test_before_the_first_update_there_is_nothing_to_help_with(project: Path, tmp_path: Path, run: Run) -> None:
    """Said in one line; nothing is made."""
    assert "run `mmmeta update` first" in run("work", code=1).stderr
    assert not (tmp_path / "client" / "_mmmeta" / "local").exists()


def test_a_worker_with_another_project_file_is_told(project: Path, tmp_path: Path, run: Run) -> None:
    """The job that is another one is left alone, the other one is worked on."""
    run("update")
    project.write_text(PROJECT.replace("document_type: contract", "document_type: report"))
    result = run("work", code=1)
    assert "Error: archive/contracts: job 'contracts' was evaluated by another definition" in result.stderr
    assert "archive/everything: 2 done, 1 failed" in result.stdout
    assert status_of(tmp_path / "client", "contracts").pending == 2
    assert "contracts" in run("work", "contract", code=2).stderr


def test_work_in_json(project: Path, run: Run) -> None:
    """One object a metadir, with each job's report."""
    run("update")
    report = json.loads(run("work", "contracts", "--json", "--limit", "1").stdout)
    assert (report["metadir"], report["jobs"][0]["done"], report["jobs"][0]["pending"]) == ("archive", 1, 1)
    assert run("work", "contracts", "--quiet").stdout != ""
    assert run("work", "contracts", "--quiet").output == ""


def test_processes_share_the_work(slow_project: Path, tmp_path: Path, run: Run) -> None:
    """Each file is done by one of them; one that is asked to end gives back what it has not begun."""
    for number in range(7):
        write(tmp_path / "server", f"m{number}.json", {"content_hash": f"m{number}"})
    run("--metadir", tmp_path / "server", "generate")
    sync(tmp_path / "server", tmp_path / "client")
    run("update")
    words = [sys.executable, "-m", "mmmeta", "work"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as one:
        wait_for((tmp_path / "seen").exists)
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
            wait_for(lambda: len((tmp_path / "seen").read_text().split()) > 3)
            one.send_signal(signal.SIGTERM)
            assert one.wait(30) == 128 + signal.SIGTERM
            assert other.wait(30) == 0
    done = (tmp_path / "seen").read_text().split()
    assert len(done) == len(set(done)) == 10
    assert command("work").stdout.startswith("archive/slow: nothing to do")
