"""mmmeta state: a copy of the state db, and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_support import Run, kept, status_of, sync, write

from mmmeta import mmmeta
from mmmeta.state.liveness import Worker


def test_backup_and_restore(ran: Path, run: Run, tmp_path: Path) -> None:
    """It says what it did and what was kept; status.json tells of what is there now."""
    copy = tmp_path / "copy.db"
    assert f"archive: copied to {copy} (revision 1)\n" == run("state", "backup", copy).stdout
    run("jobs", "forget", "contracts", "--yes")
    text = run("state", "restore", copy).stdout
    assert "what was there is in " in text
    assert "state.db.before-restore" in text
    assert status_of(ran.parent / "client", "contracts").done == 2
    run("state", "restore", tmp_path / "none.db", code=1)


def test_restore_is_refused_while_jobs_run(ran: Path, run: Run, tmp_path: Path) -> None:
    """And says what to do."""
    copy = tmp_path / "copy.db"
    run("state", "backup", copy)
    with mmmeta(ran.parent / "client") as metadir:
        worker = Worker(metadir.layout.workers)
        worker.start()
        assert "1 worker is at work" in run("state", "restore", copy, code=1).stderr
        worker.stop()


def test_backup_and_restore_first_say_what_they_would_do(ran: Path, run: Run, tmp_path: Path) -> None:
    """--dry-run checks all that can be refused, and writes nothing."""
    copy = tmp_path / "copy.db"
    before = kept(ran.parent / "client")
    assert run("state", "backup", copy, "--dry-run").stdout == f"archive: would be copied to {copy} (revision 1)\n"
    assert not copy.exists()
    assert "its folder is not there" in run("state", "backup", tmp_path / "no" / "x", "--dry-run", code=1).stderr
    run("state", "backup", copy)
    run("jobs", "forget", "contracts", "--yes")
    before = kept(ran.parent / "client")
    text = run("state", "restore", copy, "--dry-run").stdout
    assert text.startswith(f"archive: would be restored from {copy} (revision 1); what is there would stay in ")
    assert kept(ran.parent / "client") == before
    assert run("state", "restore", tmp_path / "none.db", "--dry-run", code=1).stderr
    facts = json.loads(run("state", "restore", copy, "--json").stdout)
    assert (facts["revision"], facts["revision_here"], facts["dry_run"]) == (1, 1, False)


def test_a_copy_is_put_back_on_another_machine(ran: Path, run: Run, tmp_path: Path) -> None:
    """Where nothing is yet, before the first sync; and what is another archive's is said."""
    copy = tmp_path / "copy.db"
    run("state", "backup", copy)
    there = tmp_path / "there"
    there.mkdir()
    assert "restored from" in run("--metadir", there, "--project", ran, "state", "restore", copy).stdout
    assert status_of(there, "contracts").done == 2
    sync(ran.parent / "client", there)
    assert "nothing new" in run("--metadir", there, "update").stdout
    write(tmp_path / "other", "x.json", {"content_hash": "x"})
    run("--metadir", tmp_path / "other", "generate")
    run("--metadir", tmp_path / "other", "update")
    assert "another metadata db" in run("--metadir", tmp_path / "other", "state", "restore", copy, "--dry-run").stderr


def test_prune_says_what_goes(ran: Path, run: Run, server: Path) -> None:
    """The dry run just what the real one then does; ages as everywhere, or never."""
    dry = json.loads(run("prune", "--history", "0s", "--dry-run", "--json").stdout)
    assert (dry["attempts"], dry["files"], dry["dry_run"]) == (4, 0, True)
    assert "4 attempts of the history would be removed" in run("prune", "--history", "0s", "--dry-run").stdout
    assert "4 attempts of the history removed" in run("prune", "--history", "0s").stdout
    assert "nothing removed" in run("prune", "--history", "never").stdout
    assert "is not a duration" in run("prune", "--history", "x", code=2).stderr
    assert status_of(ran.parent / "client", "contracts").done == 2
    assert "nothing to prune" in run("--metadir", server, "prune", code=1).stderr


def test_moved_and_rekey(ran: Path, run: Run, server: Path) -> None:
    """What they say, and how they end."""
    client = ran.parent / "client"
    assert "no job has put anything below" in run("state", "moved", "/nowhere", client, code=1).stderr
    assert "nothing to do" in run("state", "rekey", code=1).stderr
    (server / "_mmmeta" / "config.yml").write_text("metadata: {unique: title}\n")
    run("--metadir", server, "generate", "--replace", code=None)
    sync(server, client)
    text = run("state", "rekey", "--dry-run")
    assert "files would be identified by title, not by content_hash" in text.stdout
    assert "3 files matched (3 by content_hash); 3 files before" in text.stdout
    assert "dry run" in text.stderr
    facts = json.loads(run("state", "rekey", "--json").stdout)
    assert (facts["matched"], facts["jobs"]["contracts"]) == (3, {"done": 2, "again": 0, "left": 0})
    assert status_of(client, "contracts").done == 2
    assert "archive/contracts: nothing to do" in run("run").stdout


def test_a_ledger_is_copied(ran: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What went along is counted, and what is to be done next is said; --dry-run writes nothing."""
    state, there = ran.parent / "client" / "_mmmeta" / "local" / "state.db", tmp_path / "there.db"
    text = run("state", "copy", state, there, "--dry-run")
    assert f"archive: would be copied from {state} to {there}" in text.stdout
    assert "dry run" in text.stderr
    assert not there.exists()
    monkeypatch.setenv("THERE", str(there))
    text = run("state", "copy", state, "{{ env.THERE }}")
    assert f"archive: copied from {state} to {there}\n" in text.stdout
    assert "; counts and digests agree\n" in text.stdout
    assert f"let `state:` name {there}; no job may run with {state} any more" in text.stderr
    before = status_of(ran.parent / "client", "contracts")
    with mmmeta(ran.parent / "client", state=there) as metadir:
        assert metadir.status().jobs["contracts"].done == before.done == 2
    assert "knows jobs already" in run("state", "copy", state, there, code=1).stderr
    facts = json.loads(run("state", "copy", state, tmp_path / "json.db", "--json").stdout)
    assert (facts["rows"]["jobs"], facts["left_out"], facts["dry_run"]) == (2, 0, False)


def test_what_cannot_be_copied_is_told(ran: Path, run: Run, tmp_path: Path) -> None:
    """In words of the command line; passwords are not repeated."""
    state = ran.parent / "client" / "_mmmeta" / "local" / "state.db"
    assert "NOTHING_LIKE_IT is not set" in run("state", "copy", state, "{{ env.NOTHING_LIKE_IT }}", code=2).stderr
    assert "it is empty" in run("state", "copy", "", state, code=2).stderr
    text = run("state", "copy", state, "mysql://me:s3cret@host/db", code=1).stderr
    assert "SQLite or PostgreSQL keeps the state" in text
    assert "s3cret" not in text
    text = run("state", "copy", state, "postgresql+psycopg://me:s3cret@127.0.0.1:1/db", code=1).stderr
    assert "refused" in text
    assert "s3cret" not in text
    assert "cannot be copied to itself" in run("state", "copy", state, state, code=1).stderr
    with mmmeta(ran.parent / "client") as metadir:
        worker = Worker(metadir.layout.workers)
        worker.start()
        assert "1 worker is at work" in run("state", "copy", state, tmp_path / "x.db", code=1).stderr
        worker.stop()
