"""generate, update, status and the store: what is said, what is written, and dry runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_support import DOCUMENTS, Run, sync, tree, write

from mmmeta import mmmeta


def test_generate_says_what_it_did(tmp_path: Path, run: Run) -> None:
    """First everything is new, then nothing is."""
    for document in DOCUMENTS:
        write(tmp_path / "s", f"{document['content_hash']}.json", document)
    assert run("--metadir", tmp_path / "s", "generate").stdout.startswith("s: 3 added (revision 1, ")
    assert run("--metadir", tmp_path / "s", "generate").stdout.startswith("s: 3 unchanged (revision 1, ")


def test_generate_names_what_it_set_aside(server: Path, run: Run) -> None:
    """Exit code 3, the file and the reason on stderr, the rest is in."""
    write(server, "deep/broken.json", "{")
    write(server, "d4.json", {"content_hash": "d4"})
    result = run("generate", "--metadir", server, code=3)
    assert "1 added" in result.stdout
    assert "1 metadata file set aside:" in result.stderr
    assert "deep/broken.json" in result.stderr


def test_generate_json_is_one_object(server: Path, run: Run) -> None:
    """For programs: the whole report, nothing beside it on stdout."""
    write(server, "broken.json", "{")
    report = json.loads(run("--metadir", server, "generate", "--json", code=3).stdout)
    assert report["unchanged"] == 3
    assert report["total"] == 3
    assert report["problem_count"] == 1
    assert report["problems"][0]["source"] == "broken.json"
    assert report["path"] == str(server)


def test_dry_runs_write_nothing(server: Path, client: Path, run: Run) -> None:
    """They say what would happen."""
    write(server, "d4.json", {"content_hash": "d4"})
    before = tree(server), tree(client)
    assert "would be 1 added" in run("--metadir", server, "generate", "--dry-run").stdout
    assert "would be 3 added" in run("--metadir", client, "update", "--dry-run").stdout
    for words in (("set", "a", "1"), ("touch", "a"), ("delete", "remote_revision")):
        assert "would be" in run("--metadir", server, "store", *words, "--dry-run").stdout
    assert (tree(server), tree(client)) == before


def test_update_merges_and_says_when_nothing_is_new(client: Path, run: Run) -> None:
    """Both as a sentence and as JSON."""
    assert run("--metadir", client, "update").stdout.startswith("client: 3 added (revision 1")
    assert run("--metadir", client, "update").stdout.startswith("client: nothing new (revision 1")
    report = json.loads(run("--metadir", client, "update", "--json").stdout)
    assert (report["added"], report["how"], report["revision"]) == (0, "nothing new", 1)


def test_files_root_by_option_and_environment(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument wins over the environment."""
    write(tmp_path / "one", "a.json", {"content_hash": "a"})
    write(tmp_path / "two", "b.json", {"content_hash": "b"})
    (tmp_path / "base").mkdir()
    monkeypatch.setenv("MMMETA_FILES_ROOT", str(tmp_path / "one"))
    monkeypatch.setenv("MMMETA", str(tmp_path / "base"))
    run("generate")
    assert json.loads(run("find", "--json").stdout)["content_hash"] == "a"
    run("--files-root", tmp_path / "two", "generate")
    assert [json.loads(line)["content_hash"] for line in run("find", "--json").stdout.splitlines()] == ["a", "b"]


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


def test_tables_are_never_cut(project: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal may be too narrow; then the table is wider."""
    run("run", code=3)
    monkeypatch.setenv("COLUMNS", "30")
    output = run("status").stdout
    assert "everything" in output
    assert str(project.parent / "client") in "".join(output.split())
    assert "c3" in run("find", "--columns", "content_hash,title,document_type,pages,_file_name").stdout


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


def test_store_from_a_shell(server: Path, run: Run) -> None:
    """List, read, write, touch, delete; types as in the library."""
    assert "remote_revision" in run("--metadir", server, "store").stdout
    run("--metadir", server, "store", "set", "batch", "17")
    run("--metadir", server, "store", "set", "--text", "zip", "01067")
    run("--metadir", server, "store", "set", "local_note", "hello world")
    with mmmeta(server) as m:
        assert (m.store["batch"], m.store["zip"], m.store["local_note"]) == (17, "01067", "hello world")
    assert run("--metadir", server, "store", "get", "zip").stdout == "01067\n"
    assert run("--metadir", server, "store", "get", "batch", "--json").stdout == "17\n"
    assert json.loads(run("--metadir", server, "store", "--json").stdout)["batch"] == 17
    touched = run("--metadir", server, "store", "touch", "documents_last_updated").stdout.split()[-1]
    assert run("--metadir", server, "store", "get", "documents_last_updated").stdout.strip() == touched
    assert touched.endswith("+00:00")
    run("--metadir", server, "store", "delete", "batch")
    assert "no key 'batch'" in run("--metadir", server, "store", "get", "batch", code=1).stderr
    assert "no key" in run("--metadir", server, "store", "delete", "batch", code=1).stderr


@pytest.mark.parametrize("key", ["", "a/b", "..", "a\\b", ".hidden", "x" * 300])
def test_store_keys_that_cannot_be(key: str, server: Path, run: Run) -> None:
    """One line, nothing written, in a dry run too."""
    before = tree(server)
    for words in (("set", key, "1"), ("set", key, "1", "--dry-run"), ("touch", key), ("get", key), ("delete", key)):
        assert run("--metadir", server, "store", *words, code=1).stderr.startswith("Error: ")
    assert tree(server) == before


def test_status_names_what_was_merged_as_what_was_published(client: Path, run: Run) -> None:
    """Where nothing is outdated, both are the same; the state db has an id of its own."""
    run("--metadir", client, "update")
    status = json.loads(run("--metadir", client, "status", "--json").stdout)
    assert status["outdated"] is False
    assert status["published"] == status["merged"]
    assert status["state_id"] not in (None, status["merged"]["id"])
