"""A project with two partitioned jobs, and how a partition of it is run."""

from __future__ import annotations

PROJECT = """
version: 1
metadirs:
  archive:
    path: ./client
    files_root: ./server
    sensor: {interval: 5, attempts: 3}
    jobs:
      look:
        call: {function: "dagster_test_actions:look"}
        backoff: 1h
        partitions: {by: retrieved_at, every: day, start: 2026-05-01}
      load_all:
        load: {to: "sqlite:///loaded.db", table: documents}
        partitions: {by: "publisher:name", at_most: 3}
      download_all:
        download: {to: ./downloads, name: "{_file_name}"}
"""
