"""Two machines that share a state in PostgreSQL, and nothing else: one runs what is asked for, the other has the sensor."""

from __future__ import annotations

from pathlib import Path

from small_archive import Archive

from mmmeta import Metadir
from mmmeta.clock import utcnow
from mmmeta.state.ledger.postgresql.signs import PostgresSigns
from mmmeta.state.signs import Signs

PROJECT = """
version: 1
metadirs:
  archive:
    path: ./client
    files_root: ./server
    state: "{{ env.SHARED_URL }}"
    sensor: {interval: 5, attempts: 3}
    schedules: {retry: "* * * * *"}
    jobs:
      look:
        call: {function: "dagster_test_actions:look"}
        attempts: 2
        backoff: 1m
"""


def opened(archive: Archive) -> Metadir:
    return Metadir.from_config(archive.config)


def signs(url: str, path: Path = Path("nothing here")) -> Signs:
    return PostgresSigns(url, path, utcnow())
