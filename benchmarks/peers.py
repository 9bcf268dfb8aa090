"""What people would take instead, on the same metadata files: mmmeta 0.4.4, DuckDB, sqlite-utils, and dlt's filesystem
source. Each runs in an environment of its own, made here, and is timed as it says itself, without its start."""

from __future__ import annotations

import json
import subprocess
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import corpus
from benchmarks.figures import SECONDS, Figure

TIMEOUT = 180
"""Seconds that a peer is given for one size, its start and import included."""


@dataclass(frozen=True)
class Peer:
    """A program that prints a JSON object of work → seconds; its arguments are the archive and a folder for itself."""

    name: str
    packages: tuple[str, ...]
    program: str
    sizes: tuple[int, ...]


CLOCK = """
import json, sys, time
from pathlib import Path
archive, own = Path(sys.argv[1]), Path(sys.argv[2])
found = {}
def timed(name, work):
    started = time.perf_counter()
    result = work()
    found[name] = time.perf_counter() - started
    return result
"""

MMMETA = """
from mmmeta import mmmeta
m = mmmeta(str(archive))
timed("generate, cold", m.generate)
timed("generate, nothing changed", m.generate)
timed("update, cold", m.update)
def mark():
    for file in list(m.files)[:300]:
        file["imported"] = True
        file.save()
timed("mark 300 files as imported", mark)
print(json.dumps(found))
"""

DUCKDB = """
import duckdb
db = duckdb.connect(str(own / "files.duckdb"))
sql = f"create or replace table files as select * from read_json_auto('{archive}/*/*/*.json', union_by_name=true)"
timed("read_json_auto over the glob, cold", lambda: db.execute(sql))
timed("again, nothing changed", lambda: db.execute(sql))
print(json.dumps(found))
"""

SQLITE_UTILS = """
import sqlite_utils
db = sqlite_utils.Database(own / "files.db")
def rows():
    for path in archive.rglob("*.json"):
        if "_mmmeta" not in path.parts:
            yield json.loads(path.read_bytes())
timed("insert_all, cold", lambda: db["files"].insert_all(rows(), pk="content_hash", alter=True, replace=True))
timed("again, nothing changed", lambda: db["files"].insert_all(rows(), pk="content_hash", alter=True, replace=True))
print(json.dumps(found))
"""

DLT = """
import dlt, orjson
from dlt.sources.filesystem import filesystem
@dlt.transformer(primary_key="content_hash", write_disposition="merge")
def files(items):
    for item in items:
        yield orjson.loads(item.read_bytes())
def run():
    source = filesystem(bucket_url=archive.as_uri(), file_glob="[0-9a-f]*/**/*.json")
    source.apply_hints(incremental=dlt.sources.incremental("modification_date"))
    pipeline = dlt.pipeline("files", pipelines_dir=str(own / "dlt"), destination=dlt.destinations.duckdb(str(own / "d.duckdb")))
    pipeline.run(source | files)
timed("filesystem source, cold", run)
timed("filesystem source, nothing changed", run)
print(json.dumps(found))
"""

OLD = ("mmmeta==0.4.4", "dataset<2")
"""The packages of mmmeta 0.4.4: dataset 2 wants another SQLAlchemy."""

PEERS = (
    Peer("mmmeta 0.4.4", OLD, MMMETA, (1_000, 10_000)),
    Peer("DuckDB", ("duckdb",), DUCKDB, (1_000, 10_000)),
    Peer("sqlite-utils", ("sqlite-utils",), SQLITE_UTILS, (1_000, 10_000)),
    Peer("dlt", ("dlt[duckdb,filesystem]", "orjson"), DLT, (1_000, 10_000)),
)
"""mmmeta 0.4.4 needs more than a minute beyond that, and leaks an engine with every save."""


def run(folder: Path) -> Iterator[Figure]:
    """One measurement of each: these are for orientation, no goal hangs on them."""
    sizes = sorted({size for peer in PEERS for size in peer.sizes})
    for size in sizes:
        corpus.make(folder / f"files {size}", size)
    for peer in PEERS:
        own = folder / peer.name.replace(" ", "_")
        python = environment(own, peer.packages)
        for size in peer.sizes:
            place = own / f"work {size}"
            place.mkdir()
            for work, seconds in measured(python, peer, folder / f"files {size}", place).items():
                yield Figure(f"{peer.name}: {work}", size, [seconds], kind=SECONDS)


def environment(folder: Path, packages: tuple[str, ...]) -> Path:
    """The Python of a new environment with these packages."""
    python = folder / "bin" / "python"
    venv.create(folder, with_pip=True)
    pip: list[str | Path] = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    subprocess.run([*pip, *packages], check=True)
    return python


def measured(python: Path, peer: Peer, archive: Path, place: Path) -> dict[str, float]:
    """What a peer says of itself; one that fails or takes too long is said with its reason as infinitely slow."""
    try:
        program = subprocess.run(
            [python, "-I", "-c", CLOCK + peer.program, archive, place],
            capture_output=True, text=True, timeout=TIMEOUT, cwd=place,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {f"no answer within {TIMEOUT} s": float("inf")}
    if program.returncode:
        reason = (program.stderr.strip().splitlines() or ["no words"])[-1]
        return {f"failed ({reason:.60})": float("inf")}
    answer: dict[str, float] = json.loads(program.stdout.splitlines()[-1])
    return answer
