"""Ten million files: from an iterator, for no disk here holds so many metadata files; the same times as at one million."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks import corpus, ledger, updating
from benchmarks.figures import SECONDS, TIMES_OTHER, Figure, peak_memory, timed
from mmmeta import mmmeta


def run(folder: Path, sizes: list[int], rounds: int) -> Iterator[Figure]:
    """Publishing, a first and later updates, and a job's batches, at each size of one growing archive."""
    before = 0
    first: Figure | None = None
    base = folder / "millions"
    with mmmeta(base) as server, mmmeta(base, state=folder / "state.db") as m:
        for size in sorted(sizes):
            added = size - before
            seconds = timed(lambda before=before, size=size: server.files.insert_many(corpus.lights(before, size)))  # type: ignore[misc]
            yield Figure(f"publish {added:,} from an iterator", size, [seconds], kind=SECONDS, memory=peak_memory())
            before = size
            seconds = timed(m.update)
            yield Figure(f"update that brings {added:,}", size, [seconds], kind=SECONDS, memory=peak_memory())
            figure = updating.changes(server, m, folder, rounds, size)
            yield figure
            first = first or figure
            if figure is not first:
                ratios = [ours / other for ours, other in zip(figure.ours, first.ours, strict=True)]
                name = f"update, 1,000 changed, against {first.size:,}"
                yield Figure(name, size, ratios, goal=1.5, kind=TIMES_OTHER)
            job = m.job("import")
            job.evaluate()
            found = ledger.pending(job, rounds)
            yield Figure("next 1,000 pending, in no order", size, found, goal=0.050, kind=SECONDS, memory=peak_memory())
