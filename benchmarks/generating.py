"""``generate`` beside the bare walk and the bare ingest of the same tree."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import bare, corpus
from benchmarks.figures import MEGABYTES, Figure, peak_memory, timed
from mmmeta import mmmeta
from mmmeta.metadata.generate.second import CORES

SHAPES: dict[str, Callable[[int], dict[str, Any]]] = {
    "deep nesting": corpus.deep,
    "1,500 rare keys": corpus.rare,
    "texts of 20 KB": corpus.long,
}
SHAPED = 5_000

DOCUMENTS = 10_000
"""Documents with a metadata file that does not know their hash, at most; they take 600 MB."""

DOCUMENT_SIZE = 60_000
"""Bytes of each of them."""

GOALS = {"generate, cold": 1.25, "generate, nothing changed": 1.3, "generate, 1 % changed": 1.0}
TWO_CORES = 0.95
"""The goal of a first generate of so many files that a second process reads for it, where there are two cores."""

MANY = 50_000
FROM = 10_000
"""Files from which on the goals hold; below, opening and closing weighs most."""


def run(folder: Path, sizes: list[int], rounds: int) -> Iterator[Figure]:
    """All figures; the largest size is generated once, in a process of its own, for its memory."""
    for size in sizes:
        archive = folder / f"archive {size}"
        corpus.make(archive, size)
        yield from of_size(archive, folder / "bare.db", size, rounds)
        shutil.rmtree(archive)
    yield from of_documents(folder / "documents", min(max(sizes), DOCUMENTS), rounds)
    for name, shape in SHAPES.items():
        archive = folder / name
        corpus.make(archive, SHAPED, shape)
        limits, ours = [], []
        for _ in range(rounds + 1):
            limit, mine = cold(archive, folder / "bare.db")
            limits.append(limit)
            ours.append(mine)
        yield Figure(f"generate, cold, {name}", SHAPED, ours[1:], limits[1:])
        shutil.rmtree(archive)


def cold(archive: Path, database: Path) -> tuple[float, float]:
    """Seconds of the bare ingest and of a first generate."""
    shutil.rmtree(archive / "_mmmeta", ignore_errors=True)
    database.unlink(missing_ok=True)
    limit = timed(lambda: bare.ingest(archive, database))
    with mmmeta(archive) as m:
        return limit, timed(m.generate)


def of_size(archive: Path, database: Path, size: int, rounds: int) -> Iterator[Figure]:
    """Cold, unchanged, and one file in a hundred changed."""
    seconds: dict[str, tuple[list[float], list[float]]] = {
        name: ([], []) for name in ("generate, cold", "generate, nothing changed", "generate, 1 % changed")
    }
    for version in range(rounds + 1):
        limit, mine = cold(archive, database)
        found = {"generate, cold": (mine, limit)}
        with mmmeta(archive) as m:
            limit = timed(lambda: bare.walk(str(archive)))
            found["generate, nothing changed"] = timed(m.generate), limit
            paths = corpus.change(archive, range(0, size, 100), version + 1)
            walk = timed(lambda: bare.walk(str(archive)))
            some = timed(lambda paths=paths: bare.ingest_some(paths, database))  # type: ignore[misc]
            # The goal is 1.3 times the walk and 1.5 times the ingest; here as one bare time with the goal 1.
            found["generate, 1 % changed"] = timed(m.generate), 1.3 * walk + 1.5 * some
        if version:  # the first round warms the caches
            for name, (ours, limit) in found.items():
                seconds[name][0].append(ours)
                seconds[name][1].append(limit)
    for name, (mine_all, limits) in seconds.items():
        goal = GOALS[name] if size >= FROM else None
        if name == "generate, cold" and size >= MANY and CORES > 1:
            goal = TWO_CORES
        yield Figure(name, size, mine_all, limits, goal, memory=peak_memory())


def of_documents(archive: Path, size: int, rounds: int) -> Iterator[Figure]:
    """Metadata files without a hash: the documents are read once, and then only looked at."""
    corpus.make_sidecars(archive, size, DOCUMENT_SIZE)
    seconds: dict[str, tuple[list[float], list[float]]] = {
        "generate, hashes computed": ([], []),
        "generate, hashes remembered": ([], []),
    }
    for number in range(rounds + 1):
        shutil.rmtree(archive / "_mmmeta", ignore_errors=True)
        limit = timed(lambda: bare.hash_documents(str(archive)))
        with mmmeta(archive) as m:
            found = {"generate, hashes computed": (timed(m.generate), limit)}
            limit = timed(lambda: bare.look_at_all(str(archive)))
            found["generate, hashes remembered"] = timed(m.generate), limit
        if number:  # the first round warms the caches
            for name, (ours, limit) in found.items():
                seconds[name][0].append(ours)
                seconds[name][1].append(limit)
    shutil.rmtree(archive)
    for name, (mine_all, limits) in seconds.items():
        yield Figure(name, size, mine_all, limits, 1.3 if name.endswith("computed") and size >= FROM else None)


def memory(folder: Path, size: int) -> Figure:
    """The memory that a cold generate of so many files takes, in a process of its own."""
    archive = folder / f"archive {size}"
    corpus.make(archive, size)
    before = peak_memory(resource.RUSAGE_CHILDREN)
    code = "import sys, mmmeta; mmmeta.mmmeta(sys.argv[1]).generate()"
    seconds = timed(lambda: subprocess.run([sys.executable, "-c", code, os.fspath(archive)], check=True))
    shutil.rmtree(archive)
    peak = peak_memory(resource.RUSAGE_CHILDREN)
    assert peak > before or peak < 300, "another child took more memory before"
    return Figure(f"generate, cold: memory ({seconds:,.0f} s)", size, [peak], goal=300, kind=MEGABYTES, memory=peak)
