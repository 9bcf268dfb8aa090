"""A run that is terminated while it works: ``dagster job execute`` as a real process, and a real signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
from small_archive import Archive

from mmmeta_dagster import keys

STUCK = """
from pathlib import Path
import time

HERE = Path(__file__).parent


def look(file):
    if (HERE / "looked.txt").exists():
        (HERE / "stuck").touch()
        time.sleep(3600)
    with (HERE / "looked.txt").open("a") as out:
        print(file["_file_name"], file=out)
"""
"""Does the first file, and never comes back from the second."""


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_terminated_run_gives_its_files_back_and_says_what_it_did(archive: Archive, sign: signal.Signals) -> None:
    """The first letter is done, the second is pending again without an attempt, and the asset's page says so."""
    (archive.root / "dagster_test_actions.py").write_text(STUCK)
    archive.write("letter2", "letter")
    archive.publish()
    home = archive.root / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    process = _execute(archive, home)
    try:
        _until((archive.root / "stuck").exists, process)
        process.send_signal(sign)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait(10)
    assert process.returncode != 0
    said = "look was terminated: 1 file done, 2 left (what was at work is given back, untried)"
    assert said in output

    look = archive.status.jobs["look"]
    assert (look.done, look.pending, look.claimed, look.failed) == (1, 2, 0, 0)
    with archive.open() as m:
        entries = m.job(archive.config.jobs["look"]).files(("done", "pending"))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        (record,) = instance.get_run_records(dg.RunsFilter(job_name="archive_import"))
        (observed,) = instance.fetch_observations(keys.asset_key("archive", "look"), limit=10).records
    assert record.dagster_run.status in (dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.FAILURE)
    assert {(entry.status, entry.attempts) for entry in entries} == {("done", 1), ("pending", 0)}
    assert {entry.run_id for entry in entries if entry.status == "done"} == {record.dagster_run.run_id}
    assert observed.asset_observation is not None
    metadata = {name: value.value for name, value in observed.asset_observation.metadata.items()}
    assert (metadata["done"], metadata["failed"], metadata["pending"], metadata["done in all"]) == (1, 0, 2, 1)


HANGS = """
from pathlib import Path
import time

HERE = Path(__file__).parent


def look(file):
    if file["_file_name"] == "letter0.txt":
        (HERE / "stuck").touch()
        time.sleep(3600)
    with (HERE / "looked.txt").open("a") as out:
        print(file["_file_name"], file=out)
"""


@pytest.mark.slow
def test_a_file_that_hangs_until_its_run_is_terminated_keeps_no_other_from_its_turn(archive: Archive) -> None:
    """The first time it comes last and alone the next time; the second time an attempt is counted."""
    (archive.root / "dagster_test_actions.py").write_text(HANGS)
    for number in range(2, 6):
        archive.write(f"letter{number}", "letter")
    archive.publish()
    home = archive.root / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    attempts = []
    for _ in range(2):
        process = _execute(archive, home)
        try:
            _until((archive.root / "stuck").exists, process)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait(10)
        (archive.root / "stuck").unlink()
        with archive.open() as m:
            (waiting,) = [
                entry
                for entry in m.job(archive.config.jobs["look"]).files("pending")
                if entry.error_type == "Interrupted"
            ]
        attempts.append(waiting.attempts)
    assert attempts == [0, 1]
    assert sorted(set(archive.looked)) == [f"letter{number}.txt" for number in range(1, 6)]
    assert len(archive.looked) == 5


def _execute(archive: Archive, home: Path) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MMMETA", "DAGSTER"))}
    return subprocess.Popen(
        [
            *(str(Path(sys.executable).parent / "dagster"), "job", "execute"),
            *("-m", "mmmeta_dagster.definitions", "-j", "archive_import"),
        ],
        cwd=archive.root,
        env={
            **clean,
            "DAGSTER_HOME": str(home),
            "PYTHONPATH": os.pathsep.join([str(archive.root), clean.get("PYTHONPATH", "")]),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A shell in the background leaves SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
    )


def _until(condition: object, process: subprocess.Popen[str], seconds: float = 60) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
