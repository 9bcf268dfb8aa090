"""The command of ``make test-workers`` runs, and its audit finds what it is for."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from audit import Facts, calls_again, wrong
from processes import STOPPING, Process
from publisher import Publisher, title

FOLDER = Path(__file__).parent


@pytest.fixture
def facts() -> Facts:
    """Four files, the third of which is gone, after a kill or a cut of each kind."""
    facts = Facts({"a": 1, "b": 2, "d": 1}, {"a": 1, "b": 2, "c": 1, "d": 1}, hurt={"killed"})
    facts.rows = [(name, version, title(name, version)) for name, version in facts.truth.items()]
    facts.versions = [("a", 1), ("b", 1), ("b", 2), ("c", 1), ("d", 1)]
    facts.effects = [
        ("rows", "a", 1, "killed"),
        ("rows", "a", 1, "x"),
        ("rows", "b", 1, "x"),
        ("rows", "c", 1, "x"),
        ("rows", "d", 1, "x"),
        ("rows", "b", 2, "x"),
        ("rows", "c", None, "x"),
        ("rows", "d", None, "x"),
        ("rows", "d", 1, "x"),
        *(("versions", name, version, "x") for name, version in facts.versions),
    ]
    facts.calls = [("x", "a", 1), ("killed", "b", 1), ("y", "b", 1), ("x", "b", 2), ("x", "c", 1), ("x", "d", 1)]
    facts.ledger = [(job, name, "done") for job in ("rows", "versions", "calls") for name in "abd"]
    facts.ledger += [("rows", "c", "skipped"), ("versions", "c", "done"), ("calls", "c", "done")]
    facts.counts = [
        ("rows", "done", 3),
        ("rows", "skipped", 1),
        ("rows", "pending", 0),
        ("versions", "done", 4),
        ("calls", "done", 4),
    ]
    facts.done = [("rows", "d", 2, 2), ("versions", "b", 2, 2), ("calls", "b", 1, 1)]
    facts.receipts = [("rows", name) for name in "abd"] + [("versions", name) for name in "abcd"]
    facts.disk = ["mmmeta.yaml"]
    return facts


def test_what_has_to_be_is_not_wrong(facts: Facts) -> None:
    """A file that went and came back as it was has a row again; what a killed one did may be done again."""
    assert list(wrong(facts)) == []
    assert calls_again(facts) == 1


WRONG: list[tuple[Callable[[Facts], object], str]] = [
    (lambda f: f.rows.append(f.rows[0]), "rows: twice: 1: ['a']"),
    (lambda f: f.rows.pop(), "rows: lost: 1: ['d']"),
    (lambda f: f.rows.append(("c", 1, title("c", 1))), "rows: not there any more, and has a row: 1: ['c']"),
    (lambda f: f.truth.update(a=2), "rows: in another version than the last (found, last): 1: [('a', 1, 2)]"),
    (lambda f: f.rows.__setitem__(0, ("a", 1, title("a", 2))), "rows: not whole: 1: ['a']"),
    (lambda f: f.versions.append(("b", 1)), "versions: twice: 1: [('b', 1)]"),
    (
        lambda f: f.versions.remove(("b", 2)),
        "versions: in another version than the last (found, last): 1: [('b', 1, 2)]",
    ),
    (lambda f: f.versions.append(("b", 3)), "versions: never published: 1: [('b', 3)]"),
    (lambda f: f.effects.append(("rows", "b", 1, "x")), "older version after a newer: 1: [('rows', 'b', 1, 2)]"),
    (
        lambda f: f.effects.append(("versions", "b", 1, "x")),
        "older version after a newer: 1: [('versions', 'b', 1, 2)]",
    ),
    (lambda f: f.effects.append(("rows", "b", 2, "y")), "not hurt: 1: [('rows', 'b', 2, 'x', 'y')]"),
    (
        lambda f: f.effects.extend([("versions", "a", 2, "killed"), ("versions", "a", 2, "y")]),
        "not hurt: 1: [('versions', 'a', 2, 'killed', 'y')]",
    ),
    (lambda f: f.effects.append(("versions", "a", None, "x")), "versions: removed: 1: ['a']"),
    (
        lambda f: f.calls.remove(("x", "b", 2)),
        "calls: in another version than the last (found, last): 1: [('b', 1, 2)]",
    ),
    (lambda f: f.calls.remove(("x", "d", 1)), "calls: lost: 1: ['d']"),
    (lambda f: f.calls.append(("y", "a", 1)), "called again, though nobody was hurt: 1: [('a', 1, 'x', 'y')]"),
    (lambda f: f.calls.append(("x", "a", 1)), "called again, though nobody was hurt: 1: [('a', 1, 'x', 'x')]"),
    (lambda f: f.ledger.__setitem__(0, ("rows", "a", "claimed")), "rows: 1 files are claimed"),
    (lambda f: f.ledger.__setitem__(0, ("rows", "a", "dead")), "rows: 1 files are dead"),
    (lambda f: f.ledger.__setitem__(0, ("rows", "a", "skipped")), "rows: there, and not done in the ledger: 1: ['a']"),
    (lambda f: f.ledger.append(("rows", "c", "done")), "rows: gone, and done in the ledger: 1: ['c']"),
    (lambda f: f.counts.__setitem__(0, ("rows", "done", 4)), "the ledger's counts say {('rows', 'done'): 4"),
    (lambda f: f.done.append(("calls", "a", 2, 1)), "done twice under one token: 1: [('calls', 'a')]"),
    (lambda f: f.done.append(("calls", "a", 2, 2)), "done more often than it has versions: 1: [('calls', 'a', 2)]"),
    (lambda f: f.receipts.remove(("versions", "d")), "has a row, and no receipt: 1: [('versions', 'd')]"),
    (lambda f: setattr(f, "sessions", 2), "2 sessions of mmmeta are left"),
    (lambda f: f.disk.append("state.db"), "the workers' disk has ['mmmeta.yaml', 'state.db']"),
]


@pytest.mark.parametrize(("change", "found"), WRONG, ids=[found for _, found in WRONG])
def test_what_is_wrong_is_found_out(facts: Facts, change: Callable[[Facts], object], found: str) -> None:
    """One thing after the other."""
    change(facts)
    said = "\n".join(wrong(facts))
    assert found in said


@pytest.mark.parametrize(
    ("code", "told", "cuts", "said", "is_trouble"),
    [
        (0, [], 0, "", False),
        (0, [], 0, "a word", True),
        (1, [], 0, "", True),
        (3, [], 0, "", True),
        (1, [], 1, "Error: the connection was cut", False),
        (1, [], 1, "Traceback (most recent call last):", True),
        (-signal.SIGSEGV, [], 1, "", True),
        (143, [signal.SIGTERM], 0, STOPPING, False),
        (-signal.SIGTERM, [signal.SIGTERM], 0, "", False),
        (1, [signal.SIGTERM], 0, STOPPING, True),
        (0, [signal.SIGSTOP], 0, "", False),
        (-signal.SIGKILL, [signal.SIGKILL], 0, "half a wo", False),
        (-signal.SIGKILL, [], 0, "", True),
    ],
)
def test_how_a_process_ends(
    tmp_path: Path, code: int, told: list[signal.Signals], cuts: int, said: str, is_trouble: bool
) -> None:
    """Whoever was not hurt ends well and has nothing to say; a cut one says so in a line."""
    stderr = tmp_path / "stderr"
    stderr.write_text(said)
    popen: subprocess.Popen[bytes] = subprocess.Popen.__new__(subprocess.Popen)
    popen.returncode = code  # nothing runs
    process = Process("worker", popen, stderr, told, cuts, code)
    assert (process.trouble() is not None) == is_trouble
    assert process.is_hurt == (bool(cuts) or signal.SIGKILL in told)


def test_the_same_seed_publishes_the_same(tmp_path: Path) -> None:
    """Files that are new, changed, gone, and back; as many in the end as were asked for, but for those that are gone."""
    made = []
    for name in "ab":
        publisher = Publisher(tmp_path / name, 1_000)
        publisher.make()
        chance = random.Random(1)
        assert len(publisher.truth) == 900
        assert all(publisher.change(chance, 5) > 0 for _ in range(5))
        assert len(publisher.known) == 1_000
        assert {path.stem for path in publisher.server.rglob("f*.json")} == set(publisher.truth)
        made.append((publisher.truth, publisher.known))
    assert made[0] == made[1]
    truth, known = made[0]
    assert 0 < len(known.keys() - truth.keys()) < 20
    assert sum(version > 1 for version in known.values()) > 40


@pytest.mark.services
@pytest.mark.slow
def test_a_small_trial_finds_nothing(tmp_path: Path) -> None:
    """Somebody was killed, somebody was cut off, and all is as it has to be."""
    command = [
        sys.executable,
        str(FOLDER),
        "--files",
        "300",
        "--publications",
        "2",
        "--seed",
        "1",
        "--keep",
        str(tmp_path),
    ]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent.parent)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    for what in ("kills", "connections cut", "publications meanwhile", "files a second into a table, 4 workers"):
        counted = re.search(rf"([\d,]+)  {what}|([\d,]+)  {what}", result.stdout)
        assert counted is not None, result.stdout
        assert counted[1] != "0", result.stdout
    assert "0 wrong" in result.stdout
