"""A state in PostgreSQL: workers that share it, beside a plain claim and settle by psycopg, and evaluation beside SQLite's.

Needs ``MMMETA_TEST_POSTGRES``, a PostgreSQL of which schemas may be emptied: ``.ci/with-postgres python -m benchmarks services``.
Workers are processes of their own, which begin at one word; their seconds are from it to the end of the last, and their CPU is
their own, not the server's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import corpus
from benchmarks.figures import RATE, SECONDS, TIMES_OTHER, Figure, timed
from mmmeta import Metadir

BATCH = 100
CHANGED = 1_000
WORKERS = 4
SCHEMA = "mmmeta_benchmark"

ROUNDS = 3
"""At most: one takes two minutes or three."""

_AT_ONE_WORD = """
import resource, sys, time
print("ready", flush=True)
sys.stdin.readline()
before = resource.getrusage(resource.RUSAGE_SELF)
work()
after = resource.getrusage(resource.RUSAGE_SELF)
print(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, flush=True)
"""

_OURS = """
import sys
from mmmeta import Metadir
m = Metadir(sys.argv[1] + "/nothing", state=sys.argv[2], worker=True)
job = m.job("share", batch_size=100)
job.due()
def work():
    job.run(lambda files: None, batch=True)
"""

_BARE = """
import sys, psycopg
connection = psycopg.connect(sys.argv[2].replace("+psycopg", "").partition("?schema")[0].partition("&schema")[0], autocommit=True)
connection.execute("SET search_path TO mmmeta_benchmark")
def work():
    while True:
        with connection.transaction():
            rows = connection.execute(
                "WITH next AS MATERIALIZED (SELECT file FROM plain WHERE status = 'pending' ORDER BY file LIMIT 100 "
                "FOR UPDATE SKIP LOCKED) UPDATE plain SET status = 'claimed', token = token + 1, worker = 'x' "
                "FROM next WHERE plain.file = next.file RETURNING plain.file, token"
            ).fetchall()
            files = [file for file, _ in rows]
            connection.execute("SELECT file, payload::text FROM plain WHERE file = ANY(%s)", (files,)).fetchall()
        if not rows:
            return
        with connection.transaction():
            connection.execute(
                "UPDATE plain SET status = 'done' FROM unnest(%s::text[], %s::bigint[]) AS e (file, token) "
                "WHERE plain.file = e.file AND plain.token = e.token", (files, [token for _, token in rows]))
            connection.execute("INSERT INTO tries SELECT * FROM unnest(%s::text[])", (files,))
"""

_HOLD = """
import sys
from mmmeta import Metadir
m = Metadir(sys.argv[1] + "/nothing", state=sys.argv[2], worker=True)
job = m.job("dead")
print(len(job.claim(100)), flush=True)
sys.stdin.readline()
"""


class Spent(NamedTuple):
    """Seconds of the clock, and of the workers' CPU together."""

    wall: float
    cpu: float


def run(folder: Path, shared: int, size: int, rounds: int) -> Iterator[Figure]:
    """All figures.

    Args:
        shared: files that workers share.
        size: files of the archive whose selections are evaluated.
        rounds: counted rounds; no more than ``ROUNDS``.
    """
    server = os.environ.get("MMMETA_TEST_POSTGRES")
    if not server:
        print("services: left out, MMMETA_TEST_POSTGRES is not set")
        return
    rounds = min(rounds, ROUNDS)
    url = f"{server}{'&' if '?' in server else '?'}schema={SCHEMA}"
    try:
        yield from working(folder / "shared", url, shared, rounds)
        yield from evaluating(folder / "archive", url, size, rounds)
        yield dying(folder / "dying", url, rounds)
    finally:
        empty(url)


def working(folder: Path, url: str, count: int, rounds: int) -> Iterator[Figure]:
    """Workers that claim and settle: one, and four, each beside plain psycopg."""
    spent: dict[tuple[str, int], list[Spent]] = {}
    with Metadir(folder) as m:
        m.files.insert_many(corpus.lights(0, count))
    for _ in range(rounds):
        for workers in (1, WORKERS):
            empty(url)
            with Metadir(folder, state=url) as m:
                m.update()
                m.job("share", batch_size=BATCH).evaluate()
            plain(url, count)
            for name, code in (("ours", _OURS), ("bare", _BARE)):
                spent.setdefault((name, workers), []).append(share(code, workers, folder, url))
            tries = ask(url, "SELECT count(*), count(DISTINCT file) FROM attempts WHERE status = 'done'")
            assert tries == [(count, count)], f"one attempt a file, not {tries}"
    for workers in (1, WORKERS):
        ours, bare = spent["ours", workers], spent["bare", workers]
        words = f"{workers} worker{'s' if workers > 1 else ''}"
        yield Figure(f"claim + done, {words}, a second", count, [count / one.wall for one in ours], kind=RATE)
        yield Figure(f"claim + done, {words}", count, [one.wall for one in ours], [one.wall for one in bare])
        yield Figure(f"its CPU, {words}", count, [one.cpu for one in ours], [one.cpu for one in bare])
        yield Figure(f"CPU a file, {words}", count, [one.cpu / count for one in ours], goal=200e-6, kind=SECONDS)
    one, many = spent["ours", 1], spent["ours", WORKERS]
    yield Figure(
        f"{WORKERS} workers beside one",
        count,
        [few.wall / more.wall for few, more in zip(one, many, strict=True)],
        goal=1.5,
        kind=RATE,
    )


def share(code: str, workers: int, folder: Path, url: str) -> Spent:
    """Let so many processes work until nothing is left."""
    command = [sys.executable, "-c", code + _AT_ONE_WORD, str(folder), url]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(workers)
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    began = time.perf_counter()
    for process in running:
        assert process.stdin is not None
        process.stdin.write("now\n")
        process.stdin.flush()
    said = [process.communicate()[0] for process in running]
    wall = time.perf_counter() - began
    assert not any(process.returncode for process in running)
    return Spent(wall, sum(map(float, said)))


def evaluating(folder: Path, url: str, size: int, rounds: int) -> Iterator[Figure]:
    """A cold update, the first evaluation of a job that means one file in eight, and one after 1,000 changes, each beside the
    same with the state in a file."""
    with Metadir(folder) as m:
        m.files.insert_many(corpus.lights(0, size))
    seconds: dict[tuple[str, str], list[float]] = {}
    where = {"document_type": "contract"}
    for number in range(rounds):
        empty(url)
        states = {"ours": url, "bare": str(folder / f"state {number}.db")}
        (folder / "_mmmeta" / "local" / "state.db").unlink(missing_ok=True)
        for name, state in states.items():
            with Metadir(folder, state=state) as m:
                seconds.setdefault((name, "cold"), []).append(timed(m.update))
                job = m.job("contracts", where=where)
                seconds.setdefault((name, "first"), []).append(timed(job.evaluate))
        with Metadir(folder, server=True) as m:
            m.files.upsert_many(list(corpus.lights(0, CHANGED, number + 1)), ["content_hash"])
        for name, state in states.items():
            with Metadir(folder, state=state) as m:
                m.update()
                job = m.job("contracts", where=where)
                seconds.setdefault((name, "changes"), []).append(timed(job.evaluate))
    for work, words, goal in (("cold", "cold update", 1.2), ("first", "first evaluation", 2.0)):
        yield Figure(words, size, seconds["ours", work], seconds["bare", work], goal=goal, kind=TIMES_OTHER)
    yield Figure("evaluation after 1,000 changes", size, seconds["ours", "changes"], goal=0.050, kind=SECONDS)
    yield Figure("beside SQLite's", size, seconds["ours", "changes"], seconds["bare", "changes"])


def dying(folder: Path, url: str, rounds: int) -> Figure:
    """Seconds until the files of a killed worker are in another one's hands."""
    empty(url)
    with Metadir(folder) as m:
        m.files.insert_many(corpus.lights(0, BATCH))
    free = []
    with Metadir(folder, state=url) as m:
        job = m.job("dead")
        for _ in range(rounds):
            job.forget()
            job.evaluate()
            command = [sys.executable, "-c", _HOLD, str(folder), url]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == f"{BATCH}\n"
                process.kill()
                process.wait()
            free.append(timed(lambda: until_claimed(job), tidy=False))
    return Figure("a dead worker's files are free", BATCH, free, goal=1.0, kind=SECONDS)


def until_claimed(job: Any) -> None:
    """Claim until there is something to claim."""
    while not (files := job.claim(1)):
        time.sleep(0.005)
    job.release(*files)


def ask(url: str, sql: str) -> list[tuple[Any, ...]]:
    """What the benchmark's schema answers."""
    import psycopg

    address = url.replace("+psycopg", "").rpartition("schema=")[0][:-1]
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"SET search_path TO {SCHEMA}")
        cursor = connection.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


def empty(url: str) -> None:
    """Remove all that the rounds before have left."""
    ask(url, f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")


def plain(url: str, count: int) -> None:
    """A table for the bare work, with the same files and texts of about the same length."""
    for sql in (
        "DROP TABLE IF EXISTS plain, tries",
        'CREATE TABLE plain (file text COLLATE "C" PRIMARY KEY, status text, token bigint DEFAULT 0, worker text, payload json)',
        "CREATE TABLE tries (file text)",
        f"INSERT INTO plain SELECT file, 'pending', 0, NULL, payload FROM payloads LIMIT {count}",
        "CREATE INDEX plain_pending ON plain (file) WHERE status = 'pending'",
        "ANALYZE plain",
    ):
        ask(url, sql)
