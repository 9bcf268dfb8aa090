"""A small archive to try the project with: ``python -m document_texts.sample`` publishes it below ``data/``.

Your own archive comes from your server, by the sync tool of your choice.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from mmmeta import mmmeta

DATA = Path(__file__).parents[2] / "data"

PAPERS = {
    "harbour": ("Hafenamt", ["Harbour dredging 2021", "The fairway is deepened by two metres."]),
    "roads": ("Ministerium", ["Road works", "Bridge 7 is closed until May."]),
    "schools": ("Ministerium", ["Schools", "Three new schools are planned."]),
}
"""Name → publisher and lines of the document."""


def write_paper(name: str, publisher: str, lines: list[str], server: Path = DATA / "server") -> None:
    """A PDF at the server, and its metadata beside it."""
    server.mkdir(parents=True, exist_ok=True)
    content = pdf(lines)
    (server / f"{name}.pdf").write_bytes(content)
    metadata = {
        "foreign_id": name,
        "content_hash": hashlib.sha1(content, usedforsecurity=False).hexdigest(),
        "_file_name": f"{name}.pdf",
        "extension": "pdf",
        "title": lines[0],
        "publisher": {"name": publisher},
    }
    (server / f"{name}.json").write_text(json.dumps(metadata))


def publish(data: Path = DATA) -> int:
    """Generate at the server and copy the metadir to the client; gives the number of files."""
    config = data / "server" / "_mmmeta" / "config.yml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text("metadata: {unique: foreign_id, content: content_hash}\n")
    with mmmeta(data / "server") as server:
        server.generate(ensure=True)
        files = server.files.count()
    client = data / "client" / "_mmmeta"
    shutil.copytree(config.parent, client, ignore=shutil.ignore_patterns("local"), dirs_exist_ok=True)
    return files


def pdf(lines: list[str]) -> bytes:
    """A PDF of one page that shows lines of plain ASCII text."""
    text = b" ".join(b"(%s) Tj 0 -18 Td" % line.encode("ascii") for line in lines)
    page = b"BT /F1 12 Tf 60 760 Td %s ET" % text
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(page), page),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    result, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(result))
        result += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    end = b"trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(result)
    return result + b"xref\n0 6\n0000000000 65535 f \n" + table + end


if __name__ == "__main__":
    for name, (publisher, lines) in PAPERS.items():
        write_paper(name, publisher, lines)
    print(f"{publish()} papers published; now: dg launch --job papers_import, or dg dev")
