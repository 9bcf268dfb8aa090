"""``python -m benchmarks files``: generate and update beside the bare work, as ratios within one run.

The machine's speed drifts, so each round does the bare work and mmmeta's one after the other, and the ratio is taken
round by round; min, median and max of all rounds are printed.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks import bare, corpus
from benchmarks.timing import timed
from mmmeta import mmmeta


def main(files: int, count: int) -> None:
    """Run all and print a table."""
    with tempfile.TemporaryDirectory(prefix="mmmeta-benchmark-") as name:
        folder = Path(name) / "archive"
        corpus.make(folder, files)
        rounds = [measure(folder, Path(name) / "bare.db", version) for version in range(1, count + 2)]
    print(f"{files} files, {count} rounds, Python {sys.version.split()[0]}; seconds are medians")
    print(f"{'work':28} {'mmmeta':>9} {'bare':>9}   ratio min / median / max")
    for work in rounds[0]:
        ours = [entry[work][0] for entry in rounds[1:]]
        limits = [entry[work][1] for entry in rounds[1:]]
        line = f"{work:28} {statistics.median(ours):9.4f}"
        if all(limits):
            ratios = [mine / limit for mine, limit in zip(ours, limits, strict=True)]
            line += f" {statistics.median(limits):9.4f}   {min(ratios):.2f} / {statistics.median(ratios):.2f} / {max(ratios):.2f}"
        print(line)


def measure(folder: Path, database: Path, version: int) -> dict[str, tuple[float, float]]:
    """One round: work → seconds of mmmeta and of the bare work (0 where there is none to compare with)."""
    shutil.rmtree(folder / "_mmmeta", ignore_errors=True)
    database.unlink(missing_ok=True)
    result: dict[str, tuple[float, float]] = {}
    with mmmeta(folder) as m:
        limit = timed(lambda: bare.ingest(folder, database))
        result["generate, cold"] = timed(m.generate), limit
        limit = timed(lambda: bare.walk(str(folder)))
        result["generate, nothing changed"] = timed(m.generate), limit
        target = database.with_suffix(".state")
        limit = timed(lambda: bare.copy(m.layout.meta_db, target))
        for suffix in ("", "-wal", "-shm"):
            target.with_name(target.name + suffix).unlink(missing_ok=True)
        result["update, cold"] = timed(m.update), limit
        result["update, nothing changed"] = timed(m.update), 0.0
        corpus.change(folder, range(0, 1_000), version)
        m.generate()
        result["update, 1,000 changed"] = timed(m.update), 0.0
        result["iterate over all"] = timed(lambda: sum(1 for _ in m.files)), 0.0
    return result
