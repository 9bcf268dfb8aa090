"""A folder as people have it: some hundred documents, sidecars of every kind, and what desktops and browsers leave.

The same seed makes the same folder, byte for byte, so that counts can be exact. What is in it is told by ``Messy``; ``change``
does to it what three months of use do.
"""

from __future__ import annotations

import hashlib
import json
import random
import unicodedata
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

FOLDERS = (
    "",
    "Verträge 2019",
    "Verträge 2019/Müller & Söhne (geprüft)",
    "reports",
    "reports/2020 Q1",
    unicodedata.normalize("NFD", "Übersicht/Öffentlich"),
    "Ответы",
    "100% #1 [alt]",
)
KINDS = ("contract", "report", "invoice", "Gutachten")
EXTENSIONS = (".pdf", ".pdf", ".pdf", ".PDF", ".docx", ".txt")
WORDS = ("Vertrag", "Änderung", "Bericht", "Straße", "Anhang", "Protokoll", "résumé", "Список", "Nr. 5")

LITTER = {
    ".DS_Store": b"\0\0\0\1Bud1",
    "Verträge 2019/.DS_Store": b"\0\0\0\1Bud1",
    "Verträge 2019/._Vertrag.pdf.json": b"\0\5\26\7\0\2\0\0Mac OS X",
    "._Anlage.json": b"\0\5\26\7\0\2\0\0Mac OS X",
    "reports/Thumbs.db": b"\xd0\xcf\x11\xe0",
    "reports/.#bericht.json": b"user@host.1234",
    "reports/notes.json~": b'{"title": "old"}',
    "reports/scan.pdf.part": b"%PDF-1.4",
    "Ответы/download.pdf.crdownload": b"%PDF-1.4",
    ".Trash-1000/files/gone.pdf": b"%PDF-1.4 gone",
    ".Trash-1000/files/gone.pdf.json": b'{"title": "gone"}',
}
"""What is ignored: path → content. The trash is one folder, which is not looked into."""

BROKEN = (
    b'{"title": "cut',
    b"",
    b'["a", "list"]',
    b'{"pages": NaN}',
    '{"title": "utf-16"}'.encode("utf-16"),
    b'"text"',
)
"""What stands in the sidecars that cannot be read."""


@dataclass
class Document:
    """One document of the folder.

    Attributes:
        path: of the document below the folder, with ``/``.
        sidecars: paths of its metadata files; none for a document that has none.
        described: whether one of them can be read, or a line of JSON Lines is about it.
    """

    path: str
    content: bytes
    sidecars: list[str] = field(default_factory=list)
    described: bool = False
    there: bool = True

    @property
    def sha1(self) -> str:
        return hashlib.sha1(self.content, usedforsecurity=False).hexdigest()


@dataclass
class Messy:
    """What was made.

    Attributes:
        documents: all of them, those that are not there (only their metadata file is) with ``there=False``.
        broken: paths of the metadata files that cannot be read.
    """

    root: Path
    documents: list[Document] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)

    def there(self) -> list[Document]:
        """The documents that lie in the folder."""
        return [document for document in self.documents if document.there]

    def described(self) -> list[Document]:
        """Those of them that metadata speaks of."""
        return [document for document in self.there() if document.described]

    def bare(self) -> list[Document]:
        """Those of them that nothing speaks of, and no broken sidecar either."""
        return [document for document in self.there() if not document.described and not document.sidecars]

    def write(self, path: str, content: bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def make(root: Path, seed: int = 14, count: int = 300) -> Messy:
    """Make the folder: ``count`` documents, every thirtieth of which is a copy of another one."""
    chance = random.Random(seed)
    messy = Messy(root)
    for number in range(count):
        document = _document(messy, chance, number)
        messy.documents.append(document)
        messy.write(document.path, document.content)
        _describe(messy, chance, number, document)
    _orphans(messy, chance)
    _json_lines(messy, chance)
    for path, content in LITTER.items():
        messy.write(path, content)
    return messy


def change(messy: Messy, seed: int = 15) -> None:
    """Three months later: documents written anew, titles corrected, documents and sidecars deleted, others come.

    Ten documents have another content, ten another title, ten are gone with their metadata, five without it, and ten came.
    """
    chance = random.Random(seed)
    plain = [one for one in messy.described() if len(one.sidecars) == 1 and one.content]
    copies = {one.sha1 for one in plain if sum(other.content == one.content for other in messy.documents) > 1}
    chosen = chance.sample([one for one in plain if one.sha1 not in copies], 35)
    for document in chosen[:10]:
        document.content += b"\nsecond edition"
        messy.write(document.path, document.content)
        _set(messy, document, content_hash=None)
    for document in chosen[10:20]:
        _set(messy, document, title="corrected")
    for document in chosen[20:30]:
        (messy.root / document.path).unlink()
        (messy.root / document.sidecars[0]).unlink()
        messy.documents.remove(document)
    for document in chosen[30:]:
        (messy.root / document.path).unlink()
        document.there = False
    for number in range(1_000, 1_010):
        document = _document(messy, chance, number)
        messy.documents.append(document)
        messy.write(document.path, document.content)
        _describe(messy, chance, number * 30 + 1, document)


def _set(messy: Messy, document: Document, **values: Any) -> None:
    """Change the sidecar of a document; a value of None is taken out."""
    path = messy.root / document.sidecars[0]
    record = {**json.loads(path.read_bytes().decode("utf-8-sig")), **values}
    path.write_text(json.dumps({key: value for key, value in record.items() if value is not None}, ensure_ascii=False))


def _document(messy: Messy, chance: random.Random, number: int) -> Document:
    folder = chance.choice(FOLDERS)
    stem = f"{chance.choice(WORDS)} {number:03}"
    if number % 7 == 0:
        stem = unicodedata.normalize("NFD", stem)
    path = f"{folder}/{stem}{chance.choice(EXTENSIONS)}".lstrip("/")
    if number % 30 == 29:
        content = messy.documents[chance.randrange(number - 1)].content  # a copy under another name
    elif number % 100 == 50:
        content = b""
    else:
        content = b"%PDF-1.4\n" + chance.randbytes(chance.randrange(200, 2_000))
    return Document(path, content)


def _describe(messy: Messy, chance: random.Random, number: int, document: Document) -> None:
    """Its sidecar: ``x.pdf.json`` or ``x.json``, sometimes both, sometimes none, sometimes broken."""
    if number % 15 == 7:
        return
    stem = document.path.rpartition(".")[0]
    long, short = f"{document.path}.json", f"{stem}.json"
    path = long if chance.random() < 0.6 else short
    if number % 40 == 3:
        path = f"{stem}.JSON"
    document.sidecars = [long, short] if number % 60 == 11 else [path]
    for sidecar in document.sidecars:
        content = json.dumps(_values(chance, number, document), ensure_ascii=False).encode()
        if number % 50 == 20:
            content = BROKEN[number // 50 % len(BROKEN)]
            messy.broken.add(sidecar)
        elif number % 25 == 0:
            content = b"\xef\xbb\xbf" + content
        messy.write(sidecar, content)
    document.described = not messy.broken.issuperset(document.sidecars)


def _values(chance: random.Random, number: int, document: Document) -> dict[str, Any]:
    day = date(2018, 1, 1) + timedelta(days=chance.randrange(1_500))
    dates = (f"{day:%Y-%m-%d}", f"{day:%d.%m.%Y}", f"{day:%Y%m%d}")
    values: dict[str, Any] = {
        "title": f"{chance.choice(WORDS)}, Teil {number}",
        "document_type": KINDS[min(chance.randrange(7) // 2, 3)],
        "date": dates[number % 3],
        "received": f"{day.day % 12 + 1:02}/{day.month:02}/{day.year}",
        "pages": (chance.randrange(1, 90), str(chance.randrange(1, 90)), "k. A.", None)[min(number % 10, 3)],
        "public": True if number % 4 else "ja",
        "publisher": {"name": f"Amt für {chance.choice(WORDS)}", "id": chance.randrange(5)},
        "tags": chance.sample(["a", "b", "ü"], number % 3),
        "Straße / Nr.": f"Weg {number % 9}",
        "yes": "no",
        "007": number,
    }
    if number % 10 < 7:
        values["retrieved_at"] = f"{day.isoformat()}T12:00:00"
    if number % 20 == 5:
        values["content_hash"] = document.sha1
    if number % 11 == 5:
        values["_file_name"] = document.path.rpartition("/")[2]
    return values


def _orphans(messy: Messy, chance: random.Random) -> None:
    """Metadata files whose document is not there."""
    for number in range(3):
        document = Document(f"reports/lost {number}.pdf", b"", [f"reports/lost {number}.pdf.json"], True, there=False)
        messy.documents.append(document)
        messy.write(document.sidecars[0], json.dumps({"title": f"lost {number}"}).encode())


def _json_lines(messy: Messy, chance: random.Random) -> None:
    """Ten documents that one list describes, a record a line."""
    lines = []
    for number in range(10):
        document = Document(f"export/item {number}.txt", b"item " + chance.randbytes(100), [], True)
        messy.documents.append(document)
        messy.write(document.path, document.content)
        lines.append(
            json.dumps({"_file_name": f"item {number}.txt", "title": f"Posten {number}", "document_type": "item"})
        )
    messy.write("export/list.jsonl", ("\n".join(lines) + "\n\n").encode())
