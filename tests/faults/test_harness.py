"""The harness of ``make test-faults`` finds what it is for: a harness that finds nothing could as well be broken."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import shim

TRY = """
import json, logging, os, sys
from pathlib import Path
base, tests = map(Path, sys.argv[1:])
sys.path[:0] = [str(tests / "faults"), str(tests)]
from mmmeta.errors import MmmetaError
from points import Lane, points_of
from shim import Shim
from operations import VERBS
from verbs import Verb
from worlds import World

def careless(world, say):
    "Writes in place, says so before it is flushed, and blames somebody else."
    path = world.client_path / "_mmmeta" / "_store" / "number1"
    path.parent.mkdir(parents=True, exist_ok=True)
    say("number1")
    try:
        with path.open("w") as file:
            file.write("1")
    except OSError as error:
        if error.errno == 28:
            raise MmmetaError("the state db is damaged") from error
        raise

def lost(root, said):
    path = root / "client" / "_mmmeta" / "_store" / "number1"
    if said and not path.exists():
        yield "number1"

VERBS["careless"] = Verb(lambda world: world.client_path.mkdir(), careless, lost)
lane = Lane(base, Shim())
found = {}
for name, every in json.load(sys.stdin).items():
    for point in points_of(name, lane.survey(name))[::every]:
        found[str(point)] = lane.attempt(point)
print(json.dumps(found))
"""


def tried(tmp_path: Path, **verbs: int) -> dict[str, tuple[str, str]]:
    """Verb → which of its points, every so many-th; each point → what was found, and why."""
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler; make test-faults installs one")
    (tmp_path / "lane").mkdir()
    command = [sys.executable, "-c", TRY, str(tmp_path / "lane"), str(Path(__file__).parent.parent)]
    result = subprocess.run(
        command,
        input=json.dumps(verbs),
        env=shim.preloaded(shim.build(tmp_path)),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    found: dict[str, tuple[str, str]] = json.loads(result.stdout)
    return found


@pytest.mark.slow
def test_a_careless_verb_is_found_out(tmp_path: Path) -> None:
    """What it reports too early is lost, what it writes in place is half, and its errors mislead."""
    found = tried(tmp_path, careless=1)
    why = "\n".join(f"{point}: {verdict}: {reason}" for point, (verdict, reason) in found.items())
    assert "kill before at call" in why
    assert ": lost: number1" in why
    assert "is half a value" in why
    assert "not an MmmetaError: " in why
    assert "ENOSPC and the error says ['damaged']" in why


@pytest.mark.slow
def test_a_careful_one_is_not(tmp_path: Path) -> None:
    """Some points of a small verb of mmmeta's own."""
    found = tried(tmp_path, store=8)
    assert len(found) > 20
    assert {verdict for verdict, _ in found.values()} <= {"ok", "passed"}, found


def test_without_a_compiler_it_fails_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is never skipped in silence."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(shim.NoCompiler, match="a C compiler is needed here"):
        shim.build(tmp_path)
    command = [sys.executable, str(Path(__file__).parent), "--points", "1"]
    result = subprocess.run(command, capture_output=True, text=True, env={"PATH": str(tmp_path)})
    assert result.returncode == 2
    assert "a C compiler is needed here" in result.stderr
