"""``python -m benchmarks ledger``: claims, selections and settling at several sizes, nine files in ten done.

Each figure is what a person's program would wait for, through the public API, durable. The last part is the same job
done by mmmeta 0.4.4 with a flag per file, in an environment of its own.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import corpus
from benchmarks.timing import peak_memory, timed
from mmmeta import Metadir, mmmeta

ORDERS = (None, "retrieved_at", "-pages")
BATCH = 1_000
CHANGED = 1_000
KEYS = ("content_hash", "title", "document_type", "retrieved_at", "pages", "extension", "url", "foreign_id")

GOALS = {
    "next 1,000 pending files": 0.050,
    "nothing pending": 0.005,
    "selection after 1,000 changes": 0.100,
}
"""Work → seconds at most, at every size."""

FILES_A_SECOND = 5_000

OLD_VERSION = "mmmeta==0.4.4"
OLD_FILES = 300
"""mmmeta 0.4.4 leaks an engine with every save, and a few hundred fit into the usual limit of open files."""

OLD_PROGRAM = """
import json, sys, time
from pathlib import Path
from mmmeta import mmmeta
base = Path(sys.argv[1])
m = mmmeta(str(base))
m.generate()
m.update()
files = list(m.files)
started = time.perf_counter()
for file in files:
    file["imported"] = True
    file.save()
print(json.dumps([len(files), time.perf_counter() - started]))
"""


def main(sizes: list[int], rounds: int) -> bool:
    """Run all and print a table; returns whether every goal was met."""
    met = True
    print(f"Python {sys.version.split()[0]}; median of {rounds} rounds, and the worst")
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="mmmeta-benchmark-") as folder:
            met &= measure(Path(folder), size, rounds)
    with tempfile.TemporaryDirectory(prefix="mmmeta-benchmark-") as folder:
        print(f"mmmeta 0.4.4, {OLD_FILES} files, a save() each: {old_rate(Path(folder)):,.0f} files/s")
    return met


def measure(folder: Path, size: int, rounds: int) -> bool:
    """One size: an archive of so many files, nine in ten of them done, in three orders."""
    met = True
    print(f"\n{size:,} files, {size * 9 // 10:,} of them done")
    with mmmeta(folder) as m:
        m.files.insert_many(records(0, size))
        m.update()
        for order in ORDERS:
            found, claimed = batches(m, order, size, rounds)
            about = f"order: {order or 'none'}; claimed too, durable: {statistics.median(claimed) * 1_000:.1f} ms"
            met &= report("next 1,000 pending files", found, about)
        met &= report("nothing pending", idle(m, size, rounds))
        met &= report("selection after 1,000 changes", changes(m, size, rounds))
        count, seconds_taken = settling(m)
        rate = count / seconds_taken
        good = rate >= FILES_A_SECOND
        print(
            f"  {'claim + done':34} {rate:9,.0f} files/s   goal {FILES_A_SECOND:,}: {'met' if good else 'NOT MET'}"
            f"   ({count:,} files, peak memory {peak_memory():,.0f} MB)"
        )
    return met and good


def records(start: int, stop: int, version: int = 0) -> Iterator[dict[str, Any]]:
    """Metadata with few keys: the ledger does not look at more."""
    for index in range(start, stop):
        full = corpus.record(index, version)
        yield {key: full[key] for key in KEYS}


def report(work: str, seconds: list[float], about: str = "") -> bool:
    """Print a line; returns whether the goal was met."""
    goal = GOALS[work]
    middle = statistics.median(seconds)
    print(
        f"  {work:34} {middle * 1_000:9.1f} ms, worst {max(seconds) * 1_000:7.1f}   "
        f"goal {goal * 1_000:.0f} ms: {'met' if middle <= goal else 'NOT MET'}   {about}"
    )
    return middle <= goal


def batches(m: Metadir, order: str | None, size: int, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds until the next batch is there as ``File`` objects, and until it is claimed, with nine in ten done.

    What is claimed is done afterwards, so each batch is another.
    """
    job = m.job(f"order_{(order or 'none').strip('-')}", order_by=order)
    done = (record["content_hash"] for record in records(0, size) if int(record["content_hash"][:8], 16) % 10)
    job.adopt(done)
    found, claimed = [], []
    for _ in range(rounds):
        files: list[Any] = []
        found.append(timed(lambda: job.pending(BATCH)))
        claimed.append(timed(lambda files=files: files.extend(job.claim(BATCH))))  # type: ignore[misc]
        job.done(*files)
    return found, claimed


def idle(m: Metadir, size: int, rounds: int) -> list[float]:
    """Seconds until a job knows that it has nothing to do."""
    job = m.job("idle")
    job.adopt(record["content_hash"] for record in records(0, size))
    return [timed(lambda: job.claim(BATCH)) for _ in range(rounds)]


def changes(m: Metadir, size: int, rounds: int) -> list[float]:
    """Seconds until a job's selection is up to date after a merge of 1,000 changed files."""
    job = m.job("idle")
    seconds = []
    for version in range(1, rounds + 1):
        m.files.upsert_many(list(records(0, min(CHANGED, size), version)), ["content_hash"])
        m.update()
        seconds.append(timed(job.evaluate))
    return seconds


def settling(m: Metadir) -> tuple[int, float]:
    """Files, and seconds to claim them all in batches and record them as done."""
    job = m.job("settle", batch_size=BATCH)
    reports: list[Any] = []
    seconds = timed(lambda: reports.append(job.run(nothing, limit=200_000, batch=True)))
    return reports[0].done, seconds


def nothing(files: list[Any]) -> None:
    """The least work there is."""


def old_rate(folder: Path) -> float:
    """Files a second that mmmeta 0.4.4 marks."""
    corpus.make(folder / "archive", OLD_FILES)
    environment = folder / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    install = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", OLD_VERSION, "dataset<2"]
    subprocess.run(install, check=True)
    program = subprocess.run(
        [python, "-I", "-c", OLD_PROGRAM, folder / "archive"], check=True, capture_output=True, text=True
    )
    count, seconds = json.loads(program.stdout.splitlines()[-1])
    return float(count / seconds)
