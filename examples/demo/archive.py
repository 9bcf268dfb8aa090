"""A small archive as a scraper would leave it: documents, and beside each its metadata as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

CONFIG = """\
# What counts as metadata. A document that changes stays the same file: its number identifies it, not its content.
metadata:
  unique: foreign_id
  content: content_hash
  exclude: [headers]
"""

PUBLISHERS = [
    {"type": "ministry", "name": "Ministerium für Verkehr", "jurisdiction": {"id": "sb", "name": "Südbrück"}},
    {"type": "agency", "name": "Hafenamt", "jurisdiction": {"id": "nh", "name": "Nordhausen"}},
    {"type": "court", "name": "Cour des comptes", "jurisdiction": {"id": "ev", "name": "Évreux"}},
]

SUBJECTS = [
    "Straßenbau",
    "waste collection",
    "école primaire",
    "harbour dredging",
    "Wärmenetze",
    "Brücke Süd",
    "licences",
]

KINDS = {"contract": 12, "invoice": 11, "report": 9, "letter": 8}
"""Type of document → how many the archive has at first."""

RECENT = {"contract": 5, "invoice": 4, "report": 2, "letter": 2}
"""Type of document → how many of them were retrieved in the last week."""


@dataclass(frozen=True)
class Document:
    """One document of the archive.

    Attributes:
        kind: ``contract``, ``invoice``, ``report`` or ``letter``.
        number: counts within its kind, from 1.
        version: a changed document has a higher one.
        retrieved_at: when the scraper fetched this version, UTC without offset, as scrapers write it.
        title: says what it is about.
    """

    kind: str
    number: int
    version: int
    retrieved_at: datetime
    title: str

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.number:03}"

    @property
    def extension(self) -> str:
        return "txt" if self.kind == "letter" else "pdf"


def first_documents(now: datetime) -> list[Document]:
    """Forty documents; thirteen are from the last week, the others from three weeks up to a year ago."""
    documents = []
    for kind, count in KINDS.items():
        for number in range(1, count + 1):
            recent = number > count - RECENT[kind]
            age = timedelta(hours=30 * (count - number) + 5) if recent else timedelta(days=21 + 27 * (count - number))
            documents.append(Document(kind, number, 1, now - age, title_of(kind, number)))
    return documents


def title_of(kind: str, number: int) -> str:
    """The title that a document has at first."""
    return f"{kind.capitalize()} no. {number}: {SUBJECTS[(number + len(kind)) % len(SUBJECTS)]}"


def write_document(folder: Path, document: Document) -> None:
    """Write a document and its metadata file to ``<folder>/<kind>/<name>.{pdf,txt}`` and ``….json``."""
    target = folder / document.kind / f"{document.name}.{document.extension}"
    target.parent.mkdir(parents=True, exist_ok=True)
    text = f"{document.title}\nVersion {document.version}, {document.retrieved_at:%Y-%m-%d %H:%M}\n"
    content = text.encode() if document.extension == "txt" else _pdf(text)
    target.write_bytes(content)
    record = json.dumps(_metadata(document, target.name, content), ensure_ascii=False, indent=2)
    target.with_suffix(".json").write_text(record + "\n", encoding="utf-8")


def correct_title(folder: Path, kind: str, number: int) -> None:
    """Change nothing but a title in a metadata file, as an editor does who found a typo."""
    path = folder / kind / f"{kind}-{number:03}.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["title"] += " (corrected)"
    path.write_text(json.dumps(record, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _metadata(document: Document, file_name: str, content: bytes) -> Mapping[str, Any]:
    return {
        "foreign_id": document.name,
        "content_hash": hashlib.sha1(content, usedforsecurity=False).hexdigest(),
        "_file_name": file_name,
        "extension": document.extension,
        "file_size": len(content),
        "document_type": document.kind,
        "title": document.title,
        "public_url": f"https://archive.example/{document.kind}/{file_name}",
        "retrieved_at": document.retrieved_at.isoformat(timespec="seconds"),
        "published_at": (document.retrieved_at - timedelta(days=3)).date().isoformat(),
        "publisher": PUBLISHERS[document.number % len(PUBLISHERS)],
        "keywords": sorted({document.kind, SUBJECTS[document.number % len(SUBJECTS)]}),
        "reference": f"{document.number:05}",
        "is_public": document.number % 4 != 0,
        "headers": {"date": f"{document.retrieved_at:%a, %d %b %Y %H:%M:%S} GMT", "x-request": document.version},
    }


def _pdf(text: str) -> bytes:
    """A PDF of one page that shows some lines of text."""
    shown = b" ".join(
        b"(%s) Tj 0 -18 Td" % line.encode("cp1252", "replace").replace(b"\\", b"").replace(b"(", b"").replace(b")", b"")
        for line in text.splitlines()
    )
    page = b"BT /F1 12 Tf 60 760 Td " + shown + b" ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(page), page),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    result, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(result))
        result += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    start = len(result)
    return (
        result
        + b"xref\n0 6\n0000000000 65535 f \n%strailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
        % (
            table,
            start,
        )
    )
