"""A copy that a sync has not finished yet: it is said, and is nobody's error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from archives import copy_metadir
from click.testing import CliRunner, Result

from mmmeta import mmmeta
from mmmeta.cli import main

PROJECT = """
version: 1
metadirs:
  archive:
    path: ./client
    jobs:
      all: {call: {function: "builtins:str"}}
"""


def run(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == code, result.output
    return result


def insert(path: Path, name: str) -> None:
    with mmmeta(path) as m, m.bulk():
        m.files.insert(content_hash=name, text="x" * 20_000)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A server with two revisions, the first of which a client has merged by the log, and another one by meta.db."""
    server = tmp_path / "server"
    insert(server, "a")
    for client, without in (("client", ("meta.db",)), ("other", ("head.json", "changes"))):
        copy_metadir(server, tmp_path / client, without=without)
        with mmmeta(tmp_path / client) as m:
            m.update()
    insert(server, "b")
    (tmp_path / "mmmeta.yaml").write_text(PROJECT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def head_before_segment(folder: Path) -> tuple[str, str]:
    copy_metadir(folder / "server", folder / "client", without=("meta.db",))
    (folder / "client/_mmmeta/changes/2-2.jsonl.gz").unlink()
    return "client", "2-2.jsonl.gz is not there, which head.json names"


def short_segment(folder: Path) -> tuple[str, str]:
    copy_metadir(folder / "server", folder / "client", without=("meta.db",))
    path = folder / "client/_mmmeta/changes/2-2.jsonl.gz"
    path.write_bytes(path.read_bytes()[:50])
    return "client", "2-2.jsonl.gz has 50 of "


def short_meta_db(folder: Path) -> tuple[str, str]:
    copy_metadir(folder / "server", folder / "other", without=("head.json", "changes"))
    path = folder / "other/_mmmeta/meta.db"
    path.write_bytes(path.read_bytes()[:-4096])
    return "other", "meta.db is cut short: "


def empty_meta_db(folder: Path) -> tuple[str, str]:
    (folder / "other/_mmmeta/meta.db").write_bytes(b"")
    return "other", "meta.db is empty: the sync"


UNFINISHED = [head_before_segment, short_segment, short_meta_db, empty_meta_db]


@pytest.mark.parametrize("leave", UNFINISHED)
def test_an_update_waits_for_the_sync(leave: Callable[[Path], tuple[str, str]], folder: Path) -> None:
    """What was merged stays; when the sync is through, the next one merges."""
    client, said = leave(folder)
    result = run("--metadir", f"./{client}", "update")
    assert "waiting for a sync to finish, revision 1 is merged" in result.stdout
    assert said in result.stderr
    told = json.loads(run("--metadir", f"./{client}", "update", "--json").stdout)
    assert told["revision"] == 1
    assert said in told["waiting"]
    copy_metadir(
        folder / "server", folder / client, without=("meta.db",) if client == "client" else ("changes", "head.json")
    )
    assert "1 added (revision 2" in run("--metadir", f"./{client}", "update").stdout


def test_a_run_goes_on_with_what_is_merged(folder: Path) -> None:
    """And says so, also where nobody wants to hear that nothing happened."""
    _, said = head_before_segment(folder)
    result = run("run", "--quiet")
    assert "archive: waiting for a sync to finish" in result.stdout
    assert "archive/all: 1 done" in result.stdout
    assert said in result.stderr
    told = json.loads(run("run", "--json").stdout)
    assert said in told["update"]["waiting"]


def test_where_nothing_was_merged_there_is_nothing_to_go_on_with(folder: Path) -> None:
    """That is an error, which says what is missing."""
    copy_metadir(folder / "server", folder / "fresh", without=("meta.db",))
    (folder / "fresh/_mmmeta/changes/2-2.jsonl.gz").unlink()
    assert (
        "2-2.jsonl.gz is not there, which head.json names: the sync has not finished"
        in run("--metadir", "./fresh", "update", code=1).stderr
    )


@pytest.mark.parametrize("verb", ["update", "run", "inspect", "status"])
def test_segments_without_head_json_are_named(verb: str, folder: Path) -> None:
    """It comes last."""
    copy_metadir(folder / "server", folder / "fresh", without=("meta.db", "head.json"))
    output = run("--metadir", "./fresh", verb, code=3 if verb == "inspect" else 1).output
    assert "no head.json, which says what the segments in changes/ are: it comes last" in output


def test_inspect_says_whose_size_it_is(folder: Path) -> None:
    """head.json has some hundred bytes, its segments have more."""
    assert "its segments in changes/:" in " ".join(run("--metadir", "./client", "inspect").stdout.split())
    assert "revision 1, 1 file" in (status := " ".join(run("--metadir", "./client", "status").stdout.split()))
    assert "1 files" not in status
