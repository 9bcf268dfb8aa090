"""A valid project file to make mistakes in, and how they are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmmeta.errors import ProjectError
from mmmeta.project import load_project

BASE = """\
version: 1
metadirs:
  archive:
    path: ./client
    state: state.db
    generate: false
    sensor: {enabled: true, interval: 30}
    schedules:
      import: "*/15 * * * *"
    jobs:
      contracts:
        where:
          document_type: contract
          $any:
            - extension: pdf
            - "headers:content-type":
                like: "application/pdf%"
        download: {to: ./downloads, name: "{_file_name}"}
      recent:
        where: {retrieved_at: {">=": {ago: 7d}}}
        load:
          to: "sqlite:///x.db"
          table: documents
        limit:
          bytes: 10GB
        owners:
          - team:data
      extract:
        call: {function: "a.b:c"}
        rerun_on: content
        attempts: 5
        backoff: 1m
        tags: {a: b}
"""


def failure(folder: Path, text: str, environ: dict[str, str] | None = None, *, several: bool = False) -> ProjectError:
    """The error of a project file; of one line unless there are several mistakes."""
    path = folder / "mmmeta.yaml"
    path.write_text(text)
    with pytest.raises(ProjectError) as caught:
        load_project(path, {} if environ is None else environ)
    assert several == ("\n" in str(caught.value))
    assert str(caught.value).startswith(f"{path}:")
    assert caught.value.path == path
    return caught.value


A = "metadirs.archive"
J = f"{A}.jobs"
