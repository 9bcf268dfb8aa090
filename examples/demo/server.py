"""The server's side of the demo, and the sync: documents come and change, ``generate`` publishes, a copy carries over."""

from __future__ import annotations

import shutil
from datetime import datetime, timezone

from examples.demo.archive import CONFIG, Document, correct_title, first_documents, title_of, write_document
from examples.demo.places import CLIENT, SERVER
from mmmeta import GenerateReport, mmmeta


def make_archive() -> None:
    """The archive as it is at first, not published yet."""
    (SERVER / "_mmmeta").mkdir(parents=True)
    (SERVER / "_mmmeta" / "config.yml").write_text(CONFIG, encoding="utf-8")
    for document in first_documents(_now()):
        write_document(SERVER, document)


def change_archive() -> list[str]:
    """What happens on a later day: five documents come, one is replaced, one title is corrected. In words."""
    now = _now()
    new = [("contract", 2), ("invoice", 2), ("report", 1)]
    for kind, count in new:
        there = len(list((SERVER / kind).glob("*.json")))
        for number in range(there + 1, there + count + 1):
            write_document(SERVER, Document(kind, number, 1, now, title_of(kind, number)))
    write_document(SERVER, Document("contract", 3, 2, now, title_of("contract", 3)))
    correct_title(SERVER, "report", 1)
    return [
        "new: 2 contracts, 2 invoices, 1 report",
        "replaced by another version: contract-003",
        "only its title corrected: report-001",
    ]


def publish() -> GenerateReport:
    """Write the metadata db from the metadata files."""
    with mmmeta(SERVER, SERVER) as server:
        return server.generate()


def sync() -> None:
    """Copy the metadir to the client, without ``local/``: what rsync, rclone or a cloud's sync tool does."""
    shutil.copytree(SERVER / "_mmmeta", CLIENT / "_mmmeta", ignore=shutil.ignore_patterns("local"), dirs_exist_ok=True)


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(tzinfo=None)
