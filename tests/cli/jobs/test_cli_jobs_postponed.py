"""What the command line says where a web server asks to wait: nothing failed, and what is waited for."""

from __future__ import annotations

import json
from pathlib import Path

from cli_support import Run, rows, sync, write
from raw_web import RawWeb, answer

from mmmeta import mmmeta

PROJECT = """
version: 1
metadirs:
  archive:
    path: ./client
    jobs: {documents: {download: {to: ./documents, protocols: [http]}, attempts: 1}}
"""


def test_a_run_that_has_to_wait_is_no_failure(project: Path, tmp_path: Path, run: Run) -> None:
    """It ends with 0 and says what it waits for; so do ``jobs``, ``jobs failed``, ``status`` and ``why``."""
    with RawWeb(lambda asked: answer(b"", "503 Service Unavailable", "Retry-After: 3600")).running() as web:
        for name in ("a1", "b2", "c3"):
            document = {"content_hash": name, "_file_name": name, "public_url": f"{web.url}/{name}"}
            write(tmp_path / "server", f"{name}.json", document)
        with mmmeta(tmp_path / "server") as server:
            server.generate()
        sync(tmp_path / "server", tmp_path / "client")
        project.write_text(PROJECT)
        result = run("run")
        waiting = f"waiting for {web.host}, which answered 503 Service Unavailable, until "
        assert "archive/documents: 3 postponed; 3 due later" in result.stdout
        assert waiting in result.stderr
        table = run("jobs")
        assert f"files {waiting}" in table.stderr
        assert rows(table.stdout)[0][5] == "0"
        assert "postponed" in run("status").stdout
        failed = run("jobs", "failed")
        assert "0 files failed" in failed.stderr
        assert "postponed" in failed.stdout
        assert waiting in run("why", "a1", "documents").stdout
        (job,) = json.loads(run("jobs", "--json").stdout)["jobs"]
        assert (job["failed"], job["dead"], len(job["waiting"])) == (0, 0, 1)
        assert json.loads(run("run", "--json").stdout)["jobs"][0]["waiting"][0]["files"] == job["postponed"]
    assert len(web.asked) == 1
