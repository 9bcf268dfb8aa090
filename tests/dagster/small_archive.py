"""A small archive: a server with documents, a client with a project file, an ordinary copy between them."""

from __future__ import annotations

import hashlib
import json
import shutil
import textwrap
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from mmmeta import Metadir, Status, mmmeta, read_status
from mmmeta.project import MetadirConfig, load_project
from mmmeta_dagster import build_definitions

PROJECT = """
version: 1
metadirs:
  archive:
    path: ./client
    files_root: ./server
    sensor: {interval: 5, attempts: 3}
    jobs:
      download_contracts:
        where: {document_type: contract}
        download: {to: ./downloads, name: "{_file_name}"}
      load_all:
        load: {to: "sqlite:///loaded.db", table: documents}
      look:
        where: {document_type: letter}
        call: {function: "dagster_test_actions:look"}
        attempts: 3
        backoff: 1s
"""


ACTIONS = """
from pathlib import Path

HERE = Path(__file__).parent


def look(file):
    with (HERE / "looked.txt").open("a") as out:
        print(file["_file_name"], file=out)
    failing = HERE / "failing.txt"
    if failing.exists() and file["_file_name"] in failing.read_text().split():
        raise ValueError(f"cannot read | {file['_file_name']}")
"""
"""Notes what it was called with, and fails for the files that ``failing.txt`` names."""


@dataclass
class Archive:
    """A server with documents, a client with a project file, and an ordinary copy between them."""

    root: Path

    @property
    def server(self) -> Path:
        return self.root / "server"

    @property
    def client(self) -> Path:
        return self.root / "client"

    @property
    def project(self) -> Path:
        return self.root / "mmmeta.yaml"

    def write(self, name: str, document_type: str, **metadata: object) -> None:
        """A document at the server with its metadata file."""
        self.server.mkdir(exist_ok=True)
        content = f"{document_type} {name}".encode()
        (self.server / f"{name}.txt").write_bytes(content)
        values = {
            "content_hash": hashlib.sha1(content, usedforsecurity=False).hexdigest(),
            "document_type": document_type,
            "_file_name": f"{name}.txt",
            **metadata,
        }
        (self.server / f"{name}.json").write_text(json.dumps(values))

    def publish(self) -> None:
        """Generate at the server and copy the metadir to the client, as a sync tool would."""
        with mmmeta(self.server) as m:
            m.generate()
        self.sync()

    def sync(self) -> None:
        """Copy what gets synced."""
        shutil.copytree(
            self.server / "_mmmeta",
            self.client / "_mmmeta",
            ignore=shutil.ignore_patterns("local"),
            dirs_exist_ok=True,
        )

    def fail(self, *names: str) -> None:
        """Let the job ``look`` fail for these files from now on."""
        (self.root / "failing.txt").write_text(" ".join(names))

    @property
    def looked(self) -> list[str]:
        """The files that the job ``look`` was called with, in order."""
        path = self.root / "looked.txt"
        return path.read_text().split() if path.exists() else []

    @property
    def downloads(self) -> list[str]:
        """The files that were downloaded."""
        return sorted(path.name for path in (self.root / "downloads").glob("*"))

    @property
    def status(self) -> Status:
        """status.json."""
        status = read_status(self.client / "_mmmeta" / "local" / "status.json")
        assert status is not None
        return status

    def open(self) -> Metadir:
        """The client's metadir."""
        return mmmeta(self.client)

    def configure(self, text: str) -> None:
        """Write another project file."""
        self.project.write_text(textwrap.dedent(text))

    @property
    def config(self) -> MetadirConfig:
        """The metadir as the project file has it."""
        return load_project(self.project).metadirs["archive"]

    @property
    def watched(self) -> MetadirConfig:
        """The metadir that the sensor watches: with jobs that are made in Python, where there are such."""
        return self.config

    @property
    def definitions(self) -> dg.Definitions:
        """The code location of the project file."""
        return build_definitions(metadirs=load_project(self.project).metadirs)
