"""Inserting one by one, as a scraper does, beside commits of one row in the same journal mode."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import bare, corpus
from benchmarks.figures import RATE, SPEED_OF_BARE, Figure, timed
from mmmeta import Metadir, mmmeta
from mmmeta.values import flatten, json_text

SINGLE = 300
BULK = 20_000


def run(folder: Path, rounds: int) -> Iterator[Figure]:
    """Forty keys a file."""
    records = [corpus.record(index) for index in range(BULK)]
    rows = [
        {key: json_text(value) if isinstance(value, list) else value for key, value in flatten(record).values.items()}
        for record in records
    ]
    ours, limits = [], []
    with mmmeta(folder / "single") as m:
        connection = bare.durable(folder / "bare rows.db", "DELETE")
        others = ", ".join(f'"{key}"' for key in rows[0] if key != "content_hash")
        connection.execute(f"CREATE TABLE files (content_hash TEXT PRIMARY KEY, {others})")
        for number in range(rounds):
            mine = limit = 0.0
            # One after the other, because what a flush costs changes from moment to moment.
            for index in range(number * SINGLE, (number + 1) * SINGLE):
                limit += timed(lambda index=index: bare.insert_one(connection, rows[index]), tidy=False)  # type: ignore[misc]
                mine += timed(lambda index=index: m.files.insert(records[index]), tidy=False)  # type: ignore[misc]
            ours.append(mine / SINGLE)
            limits.append(limit / SINGLE)
        connection.close()
    yield Figure("insert, one by one, seconds each", SINGLE * rounds, ours, limits, 0.8, SPEED_OF_BARE)

    for name in ("insert", "upsert"):
        rates = []
        for number in range(rounds):
            with mmmeta(folder / f"{name} {number}") as m:
                rates.append(BULK / timed(lambda m=m, name=name: in_bulk(m, name, records)))  # type: ignore[misc]
            shutil.rmtree(folder / f"{name} {number}")
        yield Figure(f"{name} one by one in bulk(), a second", BULK, rates, goal=20_000, kind=RATE)


def in_bulk(m: Metadir, name: str, records: list[dict[str, Any]]) -> None:
    """One transaction of many calls of ``insert`` or ``upsert``."""
    write = getattr(m.files, name)
    with m.bulk():
        for record in records:
            write(record)
