"""The job ``load`` beside the sum of its parts: reading the files, claiming and settling them, and writing their rows.

Each part is done alone in the same round, as bare as it can be. The sum knows of no receipts, no types and no columns that
come later: what these cost is in the ratio.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import bare, corpus
from benchmarks.figures import RATE, Figure, peak_memory, timed
from mmmeta import Job, Metadir, mmmeta
from mmmeta.state.ledger.outcomes import Outcome

BATCH = 1_000
TABLE = "documents"


class Target(NamedTuple):
    """A database to load into.

    Attributes:
        clear: removes what the round before has left.
        bare: writes rows as that database takes them fastest, a commit for each batch.
    """

    name: str
    url: str
    clear: Callable[[], object]
    bare: Callable[[list[str], list[bare.Row]], object]
    rate: float
    times: float


class Spent(NamedTuple):
    """Seconds, and those of them that this process was at work."""

    wall: float
    cpu: float


def run(folder: Path, size: int, rounds: int) -> Iterator[Figure]:
    """SQLite always; PostgreSQL where ``MMMETA_TEST_POSTGRES`` names one that may be emptied (``.ci/with-postgres``)."""
    with mmmeta(folder / "archive") as m:
        m.files.insert_many(corpus.record(index) for index in range(size))
        m.update()
        for target in targets(folder):
            yield from into(m, target, size, rounds)


def targets(folder: Path) -> Iterator[Target]:
    """The databases that are there."""
    database = folder / "target.db"
    yield Target(
        "SQLite",
        f"sqlite:///{database}",
        lambda: database.unlink(missing_ok=True),
        lambda keys, rows: bare.upsert(database, keys, rows, BATCH),
        6_000,
        1.3,
    )
    if url := os.environ.get("MMMETA_TEST_POSTGRES"):
        yield Target(
            "PostgreSQL",
            url,
            lambda: bare.empty(url),
            lambda keys, rows: bare.copy_and_upsert(url, keys, rows, BATCH),
            5_000,
            1.5,
        )


def into(m: Metadir, target: Target, size: int, rounds: int) -> Iterator[Figure]:
    """The figures of one target."""
    keys, rows = bare.table(dict(file.meta) for file in m.files)
    ours: list[Spent] = []
    parts: list[dict[str, Spent]] = []
    for number in range(rounds + 1):
        settled = m.job("settle")
        settled.evaluate()
        target.clear()
        part = {
            "read": spent(lambda: sum(1 for _ in m.files)),
            "claim + done": spent(lambda settled=settled: settle(settled)),  # type: ignore[misc]
            "write": spent(lambda: target.bare(keys, rows)),
        }
        settled.forget()
        target.clear()
        job = m.job("load", load={"to": target.url, "table": TABLE})
        job.evaluate()
        mine = spent(job.run)
        done = job.status().done
        if done != size:
            raise RuntimeError(f"{done} of {size} files were loaded")
        job.forget()
        if number:  # the first round warms the caches
            ours.append(mine)
            parts.append(part)
    for name in parts[0]:
        rates = [size / part[name].wall for part in parts]
        yield Figure(f"{name}, files a second ({target.name})", size, rates, kind=RATE)
    name = f"load into {target.name}"
    rates = [size / one.wall for one in ours]
    yield Figure(f"{name}, files a second", size, rates, goal=target.rate, kind=RATE, memory=peak_memory())
    sums = [sum(one.wall for one in part.values()) for part in parts]
    yield Figure(f"{name}, beside its parts", size, [one.wall for one in ours], sums, target.times)
    sums = [sum(one.cpu for one in part.values()) for part in parts]
    yield Figure(f"{name}, beside its parts, CPU", size, [one.cpu for one in ours], sums)


def spent(work: Callable[[], object]) -> Spent:
    """What a work takes."""
    before = time.process_time()
    wall = timed(work)
    return Spent(wall, time.process_time() - before)


def settle(job: Job) -> None:
    """Claim all files and record them as done, in batches, without reading them, which is a part of its own."""
    bench: Any = job._bench
    worker = bench.worker()
    worker.start()
    while True:
        with bench.changing() as ledger:
            claims = ledger.claim(BATCH, worker=worker.name, run_id=None, lease=600)
        if not claims:
            break
        with bench.changing() as ledger:
            ledger.settle([Outcome(claim) for claim in claims], run_id=None, worker=worker.name)
    worker.stop()
