"""``update``, ``find`` and the sizes on disk, beside bare SQL over the same tables."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from benchmarks import bare, corpus
from benchmarks.figures import RATE, SECONDS, TIMES_BARE, Figure, peak_memory, timed
from mmmeta import Metadir, mmmeta

CHANGED = 1_000

FROM = 100_000
"""Files from which on the goals hold; below, opening and closing weighs most."""


def run(
    folder: Path, sizes: list[int], rounds: int, cold_sizes: tuple[int, ...] = (100_000, 1_000_000)
) -> Iterator[Figure]:
    """All figures: one archive that grows from size to size, of records with eight keys."""
    base = folder / "archive"
    before = 0
    with mmmeta(base) as server, mmmeta(base, state=folder / "state.db") as m:
        for size in sorted(sizes):
            server.files.insert_many(corpus.lights(before, size))
            before = size
            if size in cold_sizes:
                yield cold(m, folder, size, rounds)
            m.update()
            yield changes(server, m, folder, rounds, size)
            yield Figure(
                "update, nothing changed", size, [timed(m.update) for _ in range(rounds)], goal=0.010, kind=SECONDS
            )
            yield first_row(m, size, rounds)
            if size >= FROM:
                yield from on_disk(m, folder, size)


def cold(m: Metadir, folder: Path, size: int, rounds: int) -> Figure:
    """A client's first update, which proves each cell, beside ATTACH and INSERT … SELECT, which proves nothing; every round
    makes both databases anew."""
    ours, limits = [], []
    for number in range(rounds + 1):
        limit = timed(lambda: bare.copy(m.layout.meta_db, folder / "bare.db"))
        remove(folder / "bare.db")
        with mmmeta(m.layout.base, state=folder / "cold.db") as client:
            mine = timed(client.update)
        remove(folder / "cold.db")
        if number:
            limits.append(limit)
            ours.append(mine)
    return Figure("update, cold", size, ours, limits, 2.5, memory=peak_memory())


def remove(database: Path) -> None:
    """A SQLite file, and what lies beside it."""
    for path in database.parent.glob(database.name + "*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def changes(server: Metadir, client: Metadir, folder: Path, rounds: int, size: int) -> Figure:
    """An update that merges a thousand changed files, beside the indexed merge of the same rows."""
    ours, limits = [], []
    source, target = server.layout.meta_db, folder / "bare.db"
    bare.copy(source, target)
    for version in range(rounds + 1):
        before = server.revision
        server.files.upsert_many(list(corpus.lights(0, CHANGED, size + version)))
        limits.append(timed(lambda before=before: bare.merge(source, target, before)))  # type: ignore[misc]
        ours.append(timed(client.update))
    ours, limits = ours[1:], limits[1:]  # the first round warms the caches
    remove(target)
    return Figure("update, 1,000 changed", size, ours, limits, 2.0 if size >= FROM else None, memory=peak_memory())


def first_row(m: Metadir, size: int, rounds: int) -> Figure:
    """The first file found by a key with an index."""
    m.files.create_index("foreign_id")
    seconds = [
        timed(lambda name=f"{size // (number + 2):08d}": next(m.files.find(foreign_id=name)))  # type: ignore[misc]
        for number in range(rounds + 1)
    ]
    return Figure("find by an index, first file", size, seconds[1:], goal=0.005, kind=SECONDS)


def on_disk(m: Metadir, folder: Path, size: int) -> Iterator[Figure]:
    """Sizes of meta.db, beside a plain table of the same columns with one index, and of state.db, beside meta.db."""
    plain = folder / "plain.db"
    bare.copy(m.layout.meta_db, plain)
    connection = sqlite3.connect(plain)
    connection.execute("CREATE INDEX files_rev ON files (__rev)")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    connection = sqlite3.connect(m.layout.state)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    sizes = [path.stat().st_size / 1e6 for path in (m.layout.meta_db, plain, m.layout.state)]
    remove(plain)
    keys = len(m.files.columns)
    yield Figure(f"meta.db, {keys} keys, MB, beside a table", size, [sizes[0]], [sizes[1]], 1.1, TIMES_BARE)
    yield Figure(f"state.db, {keys} keys, MB, beside meta.db", size, [sizes[2]], [sizes[0]], 1.3, TIMES_BARE)


def iterating(folder: Path, size: int, rounds: int) -> Iterator[Figure]:
    """Files a second with forty keys, and those that a loop over sqlite3 rows gives as dicts."""
    with mmmeta(folder / "forty keys") as m:
        m.files.insert_many(corpus.record(index) for index in range(size))
        m.update()
        yield from on_disk(m, folder, size)
        rates, limits = [], []
        for _ in range(rounds + 1):
            limits.append(size / timed(lambda: bare.dicts(m.layout.state)))
            rates.append(size / timed(lambda: sum(1 for _ in m.files)))
    yield Figure("iterate, files a second (bare: dicts)", size, rates[1:], limits[1:], 40_000, RATE, peak_memory())
