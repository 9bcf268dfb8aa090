"""The ledger: claims, selections and settling at several sizes, nine files in ten done.

Each figure is what a person's program would wait for, through the public API, durable.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import corpus
from benchmarks.figures import RATE, SECONDS, Figure, peak_memory, timed
from mmmeta import Job, Metadir, mmmeta

ORDERS = (None, "retrieved_at", "-pages")
BATCH = 1_000
CHANGED = 1_000
SETTLED = 200_000
"""Files that are claimed and recorded as done for the rate, at most."""


def run(folder: Path, sizes: list[int], rounds: int) -> Iterator[Figure]:
    """All figures, for an archive of each size."""
    for size in sizes:
        with mmmeta(folder / f"ledger {size}") as m:
            m.files.insert_many(corpus.lights(0, size))
            m.update()
            yield from of_archive(m, size, rounds)


def of_archive(m: Metadir, size: int, rounds: int) -> Iterator[Figure]:
    """The figures of one archive of ``corpus.light`` files, whose state db is up to date."""
    for order in ORDERS:
        found, claimed = batches(m, order, size, rounds)
        name = f"by {order}" if order else "in no order"
        yield Figure(f"next 1,000 pending, {name}", size, found, goal=0.050, kind=SECONDS)
        yield Figure(f"claim 1,000, {name}", size, claimed, kind=SECONDS)
    yield Figure("nothing pending", size, idle(m, size, rounds), goal=0.005, kind=SECONDS)
    yield Figure("selection after 1,000 changes", size, changes(m, size, rounds), goal=0.100, kind=SECONDS)
    yield Figure(
        "claim + done, files a second", size, settling(m, size, rounds), goal=5_000, kind=RATE, memory=peak_memory()
    )


def batches(m: Metadir, order: str | None, size: int, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds until the next batch is there as ``File`` objects, and until it is claimed, with nine in ten done.

    What is claimed is done afterwards, so each batch is another.
    """
    job = m.job(f"order_{(order or 'none').strip('-')}", order_by=order)
    done = (record["content_hash"] for record in corpus.lights(0, size) if int(record["content_hash"][:8], 16) % 10)
    job.adopt(done)
    found, claimed = [], []
    for _ in range(rounds):
        files: list[Any] = []
        found.append(timed(lambda: job.pending(BATCH)))
        claimed.append(timed(lambda files=files: files.extend(job.claim(BATCH))))  # type: ignore[misc]
        job.done(*files)
    return found, claimed


def pending(job: Job, rounds: int) -> list[float]:
    """Seconds until the next batch is known; after a first one, which warms the caches."""
    return [timed(lambda: job.pending(BATCH)) for _ in range(rounds + 1)][1:]


def idle(m: Metadir, size: int, rounds: int) -> list[float]:
    """Seconds until a job knows that it has nothing to do."""
    job = m.job("idle")
    job.adopt(record["content_hash"] for record in corpus.lights(0, size))
    return [timed(lambda: job.claim(BATCH)) for _ in range(rounds)]


def changes(m: Metadir, size: int, rounds: int) -> list[float]:
    """Seconds until a job's selection is up to date after a merge of 1,000 changed files."""
    job = m.job("idle")
    seconds = []
    for version in range(1, rounds + 1):
        m.files.upsert_many(list(corpus.lights(0, min(CHANGED, size), version)), ["content_hash"])
        m.update()
        seconds.append(timed(job.evaluate))
    return seconds


def settling(m: Metadir, size: int, rounds: int) -> list[float]:
    """Files a second that are claimed in batches and recorded as done."""
    job = m.job("settle", batch_size=BATCH)
    share = min(size, SETTLED) // rounds
    job.evaluate()
    return [share / timed(lambda: job.run(nothing, limit=share, batch=True)) for _ in range(rounds)]


def nothing(files: list[Any]) -> None:
    """The least work there is."""
