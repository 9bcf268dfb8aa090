"""Every file call of every verb killed in turn and failed in turn; see docs/guarantees.md.

    python tests/faults                      all points; hours
    python tests/faults --points 300         so many, drawn anew each time; --seed draws the same again
    python tests/faults --verb save --verb store

Prints what was lost and broken as it is found, and a table. Ends with 1 where there was anything.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import shim as shims

USED = (
    "mmmeta.documents.transfer",
    "mmmeta.jobs.actions.command",
    "mmmeta.jobs.actions.download",
    "mmmeta.jobs.actions.load",
    "mmmeta.jobs.check",
    "mmmeta.sync.folder",
    "mmmeta.target.present",
    "mmmeta.target.target",
    "sqlalchemy.dialects.sqlite",
)
"""What verbs import when they are first called."""

ROOM = 1_000_000_000
"""Bytes; far more than is used."""

SHOWN = 20
"""Points of one verb that are shown; all are counted."""


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what is temporary goes then, too
    with tempfile.TemporaryDirectory(prefix="mmmeta-faults-", dir=_fast_folder()) as name:
        if shims.is_preloaded():
            return run(Path(name), options)
        try:
            library = shims.build(Path(name))
        except shims.NoCompiler as error:
            print(error, file=sys.stderr)
            return 2
        command = [sys.executable, *sys.argv]
        return os.spawnve(os.P_WAIT, command[0], command, shims.preloaded(library))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=0, help="at most so many, drawn at random; all unless given")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="of the draw")
    parser.add_argument("--verb", action="append", help="this one only; may be given several times")
    parser.add_argument("--at", type=int, help="only at this call")
    parser.add_argument("--minutes", type=float, default=1e9, help="end after so long, and count what was tried")
    parser.add_argument("--jobs", type=int, default=2, help="processes at the same time")
    return parser.parse_args()


def _fast_folder() -> str | None:
    """A folder in memory, where there is one that is large enough, as it is not in every container: what is tried is what a
    process leaves, not what a disk does."""
    memory = Path("/dev/shm")
    there = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM
    return str(memory) if there else None


def run(base: Path, options: argparse.Namespace) -> int:
    from operations import VERBS
    from points import Lane, Point, points_of

    for name in USED:  # now, so that a forked process has all of it
        importlib.import_module(name)
    logging.getLogger("mmmeta").addHandler(logging.NullHandler())
    for name in [name for name in os.environ if name.startswith("MMMETA")]:
        del os.environ[name]
    gc.collect()
    gc.freeze()  # a fork then copies less
    shim = shims.Shim()
    started = time.monotonic()
    names = options.verb or list(VERBS)
    (base / "survey").mkdir()
    survey = Lane(base / "survey", shim)
    chance = random.Random(options.seed)
    points: list[Point] = []
    there = 0
    calls: dict[str, int] = {}
    for name in names:
        logged = survey.survey(name)
        calls[name] = len(logged)
        found = [point for point in points_of(name, logged) if options.at in (None, point.at)]
        there += len(found)
        if options.points:
            found = chance.sample(found, min(len(found), max(1, options.points // len(names))))
        points += found
    drawn = f", drawn by the seed {options.seed} (make: SEED={options.seed})" if options.points else ""
    print(f"{len(points):,} of {there:,} points{drawn}", flush=True)
    shutil.rmtree(base / "survey")
    chance.shuffle(points)
    counts = _in_lanes(base, shim, points, options.jobs, started + options.minutes * 60)
    return _table(names, calls, counts, time.monotonic() - started)


def _in_lanes(base: Path, shim: shims.Shim, points: list[Any], jobs: int, until: float) -> dict[str, Counter[str]]:
    """Try the points, several at the same time; verb → verdict → how many."""
    from points import Lane

    read, write = os.pipe()
    for number in range(jobs):
        child = os.fork()
        if child:
            continue
        code = 1
        try:
            os.close(read)
            folder = base / f"lane{number}"
            folder.mkdir()
            lane = Lane(folder, shim)
            for point in points[number::jobs]:
                if time.monotonic() > until:
                    break
                verdict, why = lane.attempt(point)
                # Short enough to be written in one piece.
                said = json.dumps([point.verb, verdict, str(point)[:300], why[:1_500]], ensure_ascii=False)
                os.write(write, said.encode() + b"\n")
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    counts: dict[str, Counter[str]] = {}
    with os.fdopen(read) as lines:
        for line in lines:
            verb, verdict, point, why = json.loads(line)
            counter = counts.setdefault(verb, Counter())
            counter[verdict] += 1
            if verdict in ("lost", "broken") and counter["lost"] + counter["broken"] <= SHOWN:
                print(f"{verdict.upper()} {point}\n    {why}", flush=True)
    while True:
        try:
            _, status = os.wait()
        except ChildProcessError:
            break
        if status:
            raise SystemExit("a process that tries points has died")
    return counts


def _table(names: list[str], calls: dict[str, int], counts: dict[str, Counter[str]], seconds: float) -> int:
    total: Counter[str] = Counter()
    print(f"| {'verb':22} | {'calls':>6} | {'points':>7} | {'lost':>5} | {'broken':>6} |")
    print(f"| {'-' * 22} | {'-' * 5}: | {'-' * 6}: | {'-' * 4}: | {'-' * 5}: |")
    for name in names:
        counter = counts.get(name, Counter())
        total += counter
        _row(name, calls[name], counter)
    _row("all", sum(calls.values()), total)
    passed = f"; {total['passed']} more were never come to" if total["passed"] else ""
    print(f"{seconds:.0f} seconds{passed}")
    return int(bool(total["lost"] + total["broken"]))


def _row(name: str, calls: int, counter: Counter[str]) -> None:
    tried = sum(counter.values()) - counter["passed"]
    print(f"| {name:22} | {calls:6,} | {tried:7,} | {counter['lost']:5,} | {counter['broken']:6,} |")


if __name__ == "__main__":
    sys.exit(main())
