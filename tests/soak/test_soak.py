"""The soak of ``make test-soak`` runs, and its accounts find what they are for."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import accounts
import pytest
from scene import CLIENTS, JOBS, Scene, document

from mmmeta import Metadir

FOLDER = Path(__file__).parent


def test_a_short_soak_finds_nothing(tmp_path: Path) -> None:
    """One busy time and a quiet one: something was killed, and all is as it has to be."""
    code = Path(__file__).parent.parent.parent
    command = [sys.executable, str(FOLDER), "--minutes", "0", "--round", "3", "--seed", "1", "--keep", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(code)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    kills = re.search(r"(\d+) changes, (\d+) kills, 1 quiet times", result.stdout)
    assert kills is not None, result.stdout
    assert int(kills[2]) > 0
    assert "0 wrong" in result.stdout


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A deployment in which all is done."""
    scene = Scene(tmp_path_factory.mktemp("soak"))
    scene.make()
    with Metadir(scene.server) as server:
        server.generate()
    for client in CLIENTS:
        scene.sync_whole(client)
        with scene.metadir(client) as metadir:
            metadir.update()
            for job in JOBS:
                scene.run(metadir, job, "end")
        scene.watch_target(client)
    return scene


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def test_what_is_wrong_is_found_out(settled: Scene) -> None:
    """Nothing is at first; then one thing after the other is."""
    assert [*accounts.wrong(settled), *accounts.unequal(settled)] == []
    downloads, target, state = settled.root / "one.downloads", settled.target("one"), accounts.state_db(settled, "one")
    (downloads / "f00.pdf").unlink()
    (downloads / "f01.pdf").write_bytes(document("f01", 2)[:-1])
    (downloads / "f02.pdf").write_bytes(document("f02", 99))
    change(target, "DELETE FROM documents WHERE id = 'f03'")
    change(target, "UPDATE documents SET v = 3 WHERE id = 'f04'")
    change(target, "UPDATE documents SET v = 2 WHERE id = 'f04'")
    change(settled.target("two"), "UPDATE documents SET v = 5 WHERE id = 'f04'")
    change(settled.target("two"), "UPDATE documents SET v = 5 WHERE id = 'f04'")
    change(state, "UPDATE files SET __deleted = 1 WHERE id = 'f05'")
    change(state, "UPDATE ledger SET status = 'claimed' WHERE file = 'f06' AND job = 'call'")
    change(state, "UPDATE info SET value = value - 1 WHERE name = 'revision'")
    seen = accounts.rows(state, "SELECT column_name FROM registry WHERE owner = 'client'")[0][0]
    change(state, f"UPDATE files SET \"{seen}\" = 1 WHERE id = 'f07'")
    settled.saying("one", "x")("merged 1 0")
    for who, what in (("a", "begin f08 9"), ("b killed", "begin f08 9"), ("a", "end f08 9"), ("c", "end f08 9")):
        settled.saying("one", who)(what)
    (settled.client("one") / "_mmmeta" / "_store" / ".x.tmp").touch()
    for number in range(500, 650):
        (settled.server / "_mmmeta" / "changes" / f"{number}-{number}.jsonl.gz").touch()
    del settled.truth["f10"]
    settled.truth["f70"] = 1
    found = "\n".join([*accounts.wrong(settled), *accounts.unequal(settled)])
    for what in (
        "download: f00 is done and not there",
        "download: f01 is not whole",
        "one: downloads: in another version than the server has: {'f01': (None, 2), 'f02': (99, 3)}",
        "load: f03 is done and not there",
        "load: version 2 of f04 came after 3",
        "two: load: version 5 of f04 came after 5",
        "one: the state db: lost: ['f05', 'f70']",
        "one: call is not at its end: {'claimed': 1}",
        "the value of f07 was saved for version 8 and is 1",
        "revision 1 was merged, and now it is 0",
        "f08 was in two hands, b killed and a",
        "version 9 of f08 was done, and is done again by c",
        "_store/.x.tmp is left behind",
        "150 segments that were merged away are left in the server's changes",
        "two: downloads: too much: ['f10']",
        "two: call: lost: ['f70']",
    ):
        assert what in found, found


def test_what_grows_is_found_out() -> None:
    """From the second quiet time on: until then a process fills its caches."""
    small, large = {"a": (50_000_000, 9)}, {"a": (90_000_000, 30)}
    assert list(accounts.growth([small, large, large], [10, 10, 12])) == []
    found = list(accounts.growth([large, small, small, large], [10, 10, 12, 90]))
    assert [text.partition(":")[0] for text in found[:2]] == ["a", "a"]
    assert "50 MB of memory became 90" in found[0]
    assert "9 descriptors became 30" in found[1]
    assert found[2] == "what mmmeta keeps was 10 files and is 90"
