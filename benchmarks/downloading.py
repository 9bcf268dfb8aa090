"""The action ``download`` from a web server on loopback, beside a plain pool of as many threads."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import urllib3

from benchmarks import serving
from benchmarks.figures import SPEED_OF_BARE, Figure, timed
from mmmeta import Job, mmmeta

BYTES = 60_000
WORKERS = (1, 8)
GOAL = 0.8


def run(folder: Path, count: int, rounds: int) -> Iterator[Figure]:
    """So many documents of 60 KB, all of them in each round, by the wall clock and in this process's time of the CPU."""
    documents = folder / "documents"
    documents.mkdir()
    (work := folder / "server").mkdir()
    names = make(documents, count)
    with serving.running(documents, work) as url, mmmeta(folder / "archive") as m:
        m.files.insert_many(
            {"content_hash": digest, "_file_name": name, "public_url": f"{url}/{name}"}
            for name, digest in names.items()
        )
        m.update()
        for workers in WORKERS:
            ours: list[float] = []
            bare: list[float] = []
            cpu: list[float] = []
            bare_cpu: list[float] = []
            for number in range(rounds):
                target = folder / f"{workers} {number}"
                job = m.job(f"w{workers}r{number}", download={"to": str(target / "job")}, workers=workers)
                job.evaluate()
                for work, seconds, spent in (
                    (partial(pool, url, names, target / "bare", workers), bare, bare_cpu),
                    (partial(whole, job, count), ours, cpu),
                ):
                    before = time.process_time()
                    seconds.append(timed(work) / count)
                    spent.append((time.process_time() - before) / count)
                shutil.rmtree(target)
            threads = f"{workers} worker{'s' if workers > 1 else ''}"
            yield Figure(f"download, {threads}, seconds each", count, ours, bare, GOAL, SPEED_OF_BARE)
            yield Figure(f"download, {threads}, its CPU each", count, cpu, bare_cpu)


def make(folder: Path, count: int) -> dict[str, str]:
    """Documents of random bytes; name → SHA-1."""
    names = {}
    for number in range(count):
        content = b"%PDF-1.4\n" + random.Random(number).randbytes(BYTES - 9)
        digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        names[f"{digest}.pdf"] = digest
        (folder / f"{digest}.pdf").write_bytes(content)
    return names


def whole(job: Job, count: int) -> None:
    """Run the job; what was not done in whole must not count as fast."""
    report = job.run()
    if report.done != count:
        raise RuntimeError(f"{report.done} of {count} documents were downloaded: {report.failures[:1]}")


def pool(url: str, names: dict[str, str], folder: Path, workers: int) -> None:
    """Threads that ask, compare the SHA-1, write, and make each document durable under its name; nothing is remembered."""
    folder.mkdir(parents=True)
    manager = urllib3.PoolManager(maxsize=workers)

    def fetch(name: str) -> None:
        response = manager.request("GET", f"{url}/{name}", retries=False)
        if response.status != 200 or hashlib.sha1(response.data, usedforsecurity=False).hexdigest() != names[name]:
            raise RuntimeError(f"{name} is not what it should be")
        part = folder / f".{name}"
        with part.open("wb") as file:
            file.write(response.data)
            file.flush()
            os.fsync(file.fileno())
        part.rename(folder / name)
        handle = os.open(folder, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)

    with ThreadPoolExecutor(workers) as threads:
        for _ in threads.map(fetch, names):
            pass
    manager.clear()
