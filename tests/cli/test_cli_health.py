"""status --check and run: an exit code that stays red while something needs a person, and times that are shown."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from archives import drop_log
from cli_support import PROJECT, Run, sync, write

from mmmeta.clock import to_text, utcnow

LOADING = """
version: 1
metadirs:
  archive:
    path: ./client
    checks: {lag: 1h}
    jobs:
      load_all:
        load: {to: "sqlite:///docs.db", table: docs}
"""


def sql(database: Path, statement: str, *parameters: object) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(statement, parameters)


def state(project: Path) -> Path:
    return project.parent / "client" / "_mmmeta" / "local" / "state.db"


@pytest.fixture
def loaded(project: Path, run: Run) -> Path:
    """All three files are in a table."""
    project.write_text(LOADING)
    run("run")
    return project


def test_all_is_well(loaded: Path, run: Run) -> None:
    """One line, and 0."""
    assert run("status", "--check").output == "archive: nothing needs you\n"
    report = json.loads(run("status", "--check", "--json").stdout)
    assert report["problems"] == 0
    assert {check["check"] for check in report["checks"]} == {
        "at_published_revision",
        "types_of_keys",
        "can_run",
        "nothing_dead",
        "few_failures",
        "no_lag",
        "nothing_left_unprocessed",
        "results_in_place",
    }
    assert "checks" not in json.loads(run("status", "--json").stdout)
    assert json.loads(run("run", "--json").stdout)["unhealthy"] == []


def test_dead_files_stay_red_until_somebody_decides(project: Path, run: Run) -> None:
    """With the command that mends it, which works as it stands there."""
    project.write_text(PROJECT.replace("backoff: 1h", "attempts: 1"))
    for _ in range(2):
        assert "Dead files wait for you" in run("run", code=3).stderr
    output = run("status", "--check", code=3).stdout
    (dead,) = [line for line in output.splitlines() if "is dead" in line]
    assert dead.startswith("archive/everything: 1 file is dead, waiting for a person")
    command = dead.partition("Remedy: mmmeta ")[2]
    assert run(*command.split()).exit_code == 0
    assert "nothing needs you" in run("status", "--check").stdout
    run("run", code=3)
    run("jobs", "dismiss", "everything")
    run("run")
    assert "nothing needs you" in run("status", "--check").stdout


def test_files_that_wait_for_too_long(loaded: Path, server: Path, client: Path, run: Run) -> None:
    """Those of a job by its own look, and what is published and not merged."""
    write(server, "d4.json", {"content_hash": "d4"})
    run("--metadir", server, "generate")
    sync(server, client)
    assert "nothing needs you" in run("status", "--check").stdout  # it may wait for an hour
    sql(client / "_mmmeta" / "meta.db", "UPDATE revisions SET at = ?", to_text(utcnow() - timedelta(hours=2)))
    output = run("status", "--check", code=3).stdout
    assert "not merged yet, for 2 hours (limit 1 hour). Remedy: mmmeta" in output
    run("update")
    assert "nothing needs you" in run("status", "--check").stdout
    sql(state(loaded), "UPDATE ledger SET selected_at = ?", to_text(utcnow() - timedelta(hours=3)))
    assert (
        "archive/load_all: 1 file is pending, the oldest for 3 hours (limit 1 hour)"
        in run("status", "--check", code=3).stdout
    )
    run("run")


def test_a_stale_copy_and_a_missing_one(loaded: Path, server: Path, client: Path, run: Run, tmp_path: Path) -> None:
    """Sync again, says it."""
    shutil.copytree(server, tmp_path / "older")
    write(server, "d4.json", {"content_hash": "d4"})
    run("--metadir", server, "generate")
    sync(server, client)
    run("run")
    sync(tmp_path / "older", client)
    assert (
        "an older copy, revision 1, than what was merged, 2: sync it again" in run("status", "--check", code=3).stdout
    )
    drop_log(client / "_mmmeta")
    (client / "_mmmeta" / "meta.db").unlink()
    assert "Cannot be told" in run("status", "--check", code=3).stdout


@pytest.mark.parametrize("content", [b"", b"no database", None])
def test_a_copy_that_cannot_be_read_hides_nothing(loaded: Path, client: Path, run: Run, content: bytes | None) -> None:
    """Half synced, empty or none of ours: a line as any other, and what else needs a person is said as well."""
    sql(loaded.parent / "docs.db", "DELETE FROM docs WHERE content_hash = 'b2'")
    drop_log(client / "_mmmeta")
    copy = client / "_mmmeta" / "meta.db"
    copy.write_bytes(copy.read_bytes()[:20_000] if content is None else content)
    first, second = run("status", "--check", code=3).stdout.splitlines()
    assert first.startswith("archive: Cannot be told: metadata db ")
    assert ". See: mmmeta" in first
    assert second.startswith("archive/load_all: Looked for 3 of 3 files that are done: 1 not in place")
    report = json.loads(run("status", "--check", "--json", code=3).stdout)
    assert (report["problems"], report["outdated"], report["published"]) == (2, None, None)
    run("status", code=1)


def test_another_unique_needs_a_person_at_once(loaded: Path, server: Path, client: Path, run: Run) -> None:
    """For no update goes on before it, however fresh the publication is."""
    (server / "_mmmeta" / "config.yml").write_text("metadata: {unique: title}\n")
    run("--metadir", server, "generate", "--replace")
    sync(server, client)
    run("run", "--quiet", code=1)
    (line,) = run("status", "--check", code=3).stdout.splitlines()
    assert "identifies files by title now, the state db by content_hash" in line
    assert line.endswith("archive state rekey")
    run("state", "rekey")
    assert "nothing needs you" in run("status", "--check").stdout


def test_a_deletion_that_an_update_refuses_needs_a_person_at_once(
    loaded: Path, server: Path, client: Path, run: Run
) -> None:
    """A remote that was lost, or whose disk is not mounted: each run ends with 1 until somebody says that it is meant."""
    shutil.rmtree(server / "_mmmeta")
    for file in server.glob("*.json"):
        file.unlink()
    run("--metadir", server, "generate")
    sync(server, client)
    assert "3 of 3 files would be deleted" in run("run", "--quiet", code=1).stderr
    (line,) = run("status", "--check", code=3).stdout.splitlines()
    assert line.startswith("archive: 3 of 3 files would be deleted, and none would be left; nothing was changed.")
    assert "`mmmeta update --allow-mass-delete`" in line
    run("update", "--allow-mass-delete")
    assert "nothing needs you" in run("status", "--check").stdout


def test_a_deletion_that_was_told_waits_as_any_news(loaded: Path, server: Path, client: Path, run: Run) -> None:
    for file in server.glob("*.json"):
        file.unlink()
    run("--metadir", server, "generate", "--ensure", "--allow-mass-delete")
    sync(server, client)
    assert "nothing needs you" in run("status", "--check").stdout
    run("run", "--quiet")


def test_results_that_are_gone_and_a_changed_target(loaded: Path, run: Run) -> None:
    """Also at the end of a run that had nothing to do."""
    sql(loaded.parent / "docs.db", "DELETE FROM docs WHERE content_hash = 'b2'")
    assert "Looked for 3 of 3 files that are done: 1 not in place" in run("status", "--check", code=3).stdout
    result = run("run", "--quiet", code=3)
    assert result.stdout == ""
    assert "archive/load_all: Looked for 3 of 3 files that are done: 1 not in place" in result.stderr
    (problem,) = json.loads(run("run", "--json", code=3).stdout)["unhealthy"]
    assert problem["remedy"].endswith("jobs retry load_all b2")
    run("jobs", "retry", "load_all", "b2")
    run("run")
    for more in ("", "    checks: {downloads: 0}\n"):
        loaded.write_text(
            LOADING.replace("docs.db", "other.db").replace("    checks: {lag: 1h}\n", more or "    checks: {}\n")
        )
        assert "done elsewhere than where the job points now" in run("status", "--check", code=3).stdout
        assert "done elsewhere" in run("run", code=3).stderr
    run("jobs", "adopt", "load_all", "--elsewhere")
    assert "nothing needs you" in run("status", "--check").stdout


def test_a_job_that_cannot_run(loaded: Path, run: Run) -> None:
    """A key that no file has; the run says it once."""
    loaded.write_text(LOADING.replace("load: {", "where: {titel: x}\n        load: {"))
    assert "archive/load_all: The job cannot run:" in run("status", "--check", code=3).stdout
    assert run("run", code=1).stderr.count("titel") == 1


def test_checks_that_are_off(loaded: Path, run: Run) -> None:
    """A run looks no more; who asks is told."""
    sql(loaded.parent / "docs.db", "DELETE FROM docs WHERE content_hash = 'b2'")
    loaded.write_text(LOADING.replace("{lag: 1h}", "false"))
    run("run")
    run("status", "--check", code=3)


def test_before_the_first_update_at_a_server_and_nowhere(
    project: Path, server: Path, client: Path, run: Run, tmp_path: Path
) -> None:
    """Three folders without a state db."""
    assert "nothing was merged yet" in run("status", "--check", code=3).stdout
    assert "nothing needs you" in run("--metadir", server, "status", "--check").stdout
    (tmp_path / "empty").mkdir()
    assert "no metadata db" in run("--metadir", tmp_path / "empty", "status", "--check", code=1).stderr


def test_an_unreadable_state_db_is_an_error(loaded: Path, run: Run) -> None:
    """Which says what to do."""
    state(loaded).write_bytes(b"no database at all" * 100)
    assert "state.db" in run("status", "--check", code=1).stderr


def test_one_of_several_metadirs(loaded: Path, server: Path, run: Run) -> None:
    """The other one is fine; each is a line."""
    loaded.write_text(LOADING + f"  other:\n    path: {server}\n")
    sql(loaded.parent / "docs.db", "DELETE FROM docs WHERE content_hash = 'b2'")
    first, second = run("status", "--check", code=3).stdout.splitlines()
    assert first.startswith("archive/load_all: Looked")
    assert second == "other: nothing needs you"


def test_jobs_that_only_the_ledger_knows(client: Path, run: Run) -> None:
    """A program's own job needs its person, too."""
    from mmmeta import mmmeta

    def fail(file: object) -> None:
        raise ValueError("no")

    with mmmeta(client) as m:
        m.update()
        m.job("mine", attempts=1).run(fail)
    output = run("--metadir", client, "status", "--check", code=3).stdout
    assert "client/mine: 3 files are dead" in output
    assert "it goes on where it is made" in output
    assert "`mmmeta jobs forget mine`" in output


def test_times(loaded: Path, server: Path, run: Run) -> None:
    """When it was published, synced, merged, and run last."""
    status = json.loads(run("status", "--json").stdout)
    assert all(status[name] for name in ("published_at", "synced_at", "merged_at", "run_at"))
    text = run("status").stdout
    for word in ("published", "synced", "merged", "run last"):
        (line,) = [line for line in text.splitlines() if line.startswith(word)]
        assert line.rstrip()[-3] == ":", line
    before = status["run_at"]
    run("run")  # with nothing to do
    after = json.loads(run("status", "--json").stdout)
    assert after["run_at"] > before
    assert after["merged_at"] == status["merged_at"]
    assert json.loads(run("--metadir", server, "status", "--json").stdout)["synced_at"] is None


def test_quiet(loaded: Path, server: Path, client: Path, run: Run) -> None:
    """Nothing where nothing happened, also as JSON; all that did, as ever."""
    assert run("run", "--quiet").output == ""
    assert run("run", "--quiet", "--json").output == ""
    write(server, "d4.json", {"content_hash": "d4"})
    run("--metadir", server, "generate")
    sync(server, client)
    output = run("run", "--quiet").output
    assert "archive: 1 added" in output
    assert "archive/load_all: 1 done" in output
    loaded.write_text(LOADING.replace("load: {", "where: {titel: x}\n        load: {"))
    assert "titel" in run("run", "--quiet", code=1).stderr


def test_a_server_whose_metadata_files_are_set_aside(server: Path, run: Run) -> None:
    """Until they are mended; a client can do nothing about it, and is told by why and inspect."""
    write(server, "bad.json", "{")
    run("--metadir", server, "generate", code=3)
    output = run("--metadir", server, "status", "--check", code=3).stdout
    assert output.startswith("server: 1 metadata file is set aside, which jobs never see; the first is bad.json: ")
    assert "bad.json" in run("--metadir", server, "inspect").stderr
    (server / "bad.json").unlink()
    run("--metadir", server, "generate")
    assert run("--metadir", server, "status", "--check").stdout == "server: nothing needs you\n"
