"""status: what is merged, what is outdated, and how far each job is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cli_support import Run, sync, write

from mmmeta import mmmeta
from mmmeta.errors import OutdatedWarning


def test_status_says_what_is_outdated(project: Path, server: Path, client: Path, run: Run) -> None:
    """Revisions, and per job what is pending, done and failed."""
    assert "never updated" in run("status").stdout
    run("run", code=3)
    status = json.loads(run("status", "--json").stdout)
    assert (status["merged"]["revision"], status["outdated"]) == (1, False)
    assert (status["jobs"]["everything"]["done"], status["jobs"]["everything"]["failed"]) == (2, 1)
    write(server, "d4.json", {"content_hash": "d4"})
    run("--metadir", server, "generate")
    sync(server, client)
    output = run("status").stdout
    assert "yes: run `mmmeta update`" in output
    row = next(line.split() for line in output.splitlines() if line.startswith("everything"))
    assert row[:4] == ["everything", "0", "2", "1"]


def test_status_does_not_recommend_what_is_refused(server: Path, client: Path, run: Run, tmp_path: Path) -> None:
    """An older copy cannot be merged, nor one that identifies files by another key."""
    shutil.copytree(server, tmp_path / "older")
    write(server, "d4.json", {"content_hash": "d4"})
    run("--metadir", server, "generate")
    sync(server, client)
    run("--metadir", client, "update")
    sync(tmp_path / "older", client)
    assert "is a stale copy" in run("--metadir", client, "update", code=1).output
    output = run("--metadir", client, "status").stdout
    assert "older than what was merged: sync it again" in output
    assert "run `mmmeta update`" not in output
    status = json.loads(run("--metadir", client, "status", "--json").stdout)
    assert (status["outdated"], status["stale"]) == (True, True)
    with mmmeta(client) as m, pytest.warns(OutdatedWarning, match=r"a stale copy .* Sync again"):
        m.files.count()
    sync(server, client)
    status = json.loads(run("--metadir", client, "status", "--json").stdout)
    assert (status["outdated"], status["stale"]) == (False, False)
    (server / "_mmmeta" / "config.yml").write_text("metadata: {unique: _file_name}\n")
    run("--metadir", server, "generate", "--replace", code=None)
    sync(server, client)
    assert "mmmeta state rekey --dry-run" in run("--metadir", client, "update", code=1).output
    assert "yes, but files are identified by _file_name now" in run("--metadir", client, "status").stdout


def test_status_of_a_server_asks_for_nothing(server: Path, run: Run) -> None:
    """What it published it does not have to merge."""
    assert "no, this is the server" in run("--metadir", server, "status").stdout
    assert json.loads(run("--metadir", server, "status", "--json").stdout)["outdated"] is None


def test_status_lists_shadowed_keys(client: Path, run: Run) -> None:
    """Keys that the client sets over the remote's."""
    run("--metadir", client, "update")
    with mmmeta(client) as m:
        file = m.files.find_one(content_hash="a1")
        assert file is not None
        file["title"] = "mine"
        file.save()
    line = next(line for line in run("--metadir", client, "status").stdout.splitlines() if line.startswith("shadowed"))
    assert line.split()[-1] == "title"


def test_status_names_what_was_merged_as_what_was_published(client: Path, run: Run) -> None:
    """Where nothing is outdated, both are the same; the state db has an id of its own."""
    run("--metadir", client, "update")
    status = json.loads(run("--metadir", client, "status", "--json").stdout)
    assert status["outdated"] is False
    assert status["published"] == status["merged"]
    assert status["state_id"] not in (None, status["merged"]["id"])
