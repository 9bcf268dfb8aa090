"""A synthetic archive of metadata files, the same bytes for the same arguments: 40 keys and about 1.7 KB a file."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

KINDS = ("contract", "invoice", "report", "motion", "answer", "transcript", "tender", "letter")
PLACES = ("Nordhausen", "Südbrück", "Großau", "Évreux", "Świętoszów", "台北")
WORDS = (
    "budget",
    "Straßenbau",
    "Übersicht",
    "contrôle",
    "committee",
    "решение",
    "harbour",
    "licence",
    "tender",
    "school",
)
START = datetime(2026, 1, 5, 8, 0, 0)


def record(index: int, version: int = 0) -> dict[str, Any]:
    """One file's metadata; another version has another title and date, and the same identity."""
    rng = random.Random(f"mmmeta benchmark {index}")
    digest = hashlib.sha1(f"document {index}".encode(), usedforsecurity=False).hexdigest()
    place = rng.choice(PLACES)
    retrieved = START + timedelta(seconds=3 * index, microseconds=rng.randrange(1_000_000))
    return {
        "content_hash": digest,
        "url": f"https://archive.example/{place}/{rng.randrange(20_000):06d}.pdf",
        "request_id": f"GET:{rng.getrandbits(256):064x}",
        "status_code": 200,
        "title": " ".join(rng.choice(WORDS) for _ in range(14)) + (f" (version {version})" if version else ""),
        "document_type": rng.choice(KINDS),
        "retrieved_at": retrieved.isoformat(),
        "modified_at": (retrieved + timedelta(days=version)).isoformat(),
        "published_at": (START - timedelta(days=rng.randrange(3_000))).date().isoformat(),
        "reference": f"{rng.randrange(1_000_000):06d}",
        "originators": [rng.choice(WORDS) for _ in range(3)],
        "languages": ["de", "fr"],
        "is_public": rng.random() < 0.5,
        "pages": rng.randrange(1, 400),
        "size_kb": round(rng.uniform(20, 900), 2),
        "parent_id": None,
        "foreign_id": f"{place}-{index}",
        "extension": "pdf",
        "_file_name": f"{digest}.pdf",
        "publisher": {
            "name": f"Parliament of {place}",
            "type": "parliament",
            "url": "https://archive.example/",
            "jurisdiction": {"id": place[:2].lower(), "name": place},
        },
        "crawler": {"name": "documents", "run": f"{retrieved:%Y%m%d}", "stage": "store"},
        "headers": {
            name: f"{rng.getrandbits(100):025x}"
            for name in (
                "date", "server", "content-type", "content-length", "etag", "cache-control", "accept-ranges", "via",
                "last-modified", "access-control-allow-origin", "strict-transport-security", "x-varnish",
            )
        },
    }  # fmt: skip


def make(folder: Path, count: int, shape: Callable[[int], dict[str, Any]] = record) -> None:
    """Write ``count`` metadata files as ``<two hex digits>/<two more>/<digest>.json``."""
    for index in range(count):
        write(folder, shape(index))


def change(folder: Path, indexes: range, version: int) -> list[Path]:
    """Write another version of some of them; returns their paths."""
    return [write(folder, record(index, version)) for index in indexes]


def write(folder: Path, data: dict[str, Any]) -> Path:
    """Write one metadata file; returns its path."""
    digest = data["content_hash"]
    target: Path = folder / digest[:2] / digest[2:4] / f"{digest}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(data, ensure_ascii=False, indent=2), encoding="utf-8")
    return target


def light(index: int, version: int = 0) -> dict[str, Any]:
    """One file's metadata with eight keys, for archives of millions; cheap to make."""
    digest = hashlib.sha1(b"document %d" % index, usedforsecurity=False).hexdigest()
    return {
        "content_hash": digest,
        "title": f"Report of committee {index % 977} (version {version})",
        "document_type": KINDS[index % len(KINDS)],
        "retrieved_at": (START + timedelta(seconds=3 * (index ^ 0x155))).isoformat(),
        "pages": index * 7_919 % 400 + 1,
        "extension": "pdf",
        "url": f"https://archive.example/{index % 20_000:06d}.pdf",
        "foreign_id": f"{index:08d}",
    }


def make_sidecars(folder: Path, count: int, size: int) -> None:
    """Write ``count`` documents of so many bytes, a hundred a folder, each with a metadata file that knows no hash."""
    rng = random.Random("mmmeta documents")
    for index in range(count):
        target = folder / f"{index // 100:04d}"
        target.mkdir(parents=True, exist_ok=True)
        (target / f"{index}.pdf").write_bytes(rng.randbytes(size))
        metadata = {key: value for key, value in light(index).items() if key != "content_hash"}
        (target / f"{index}.pdf.json").write_text(json.dumps(metadata), encoding="utf-8")


def lights(start: int, stop: int, version: int = 0) -> Iterator[dict[str, Any]]:
    """``light`` for a range of indexes."""
    for index in range(start, stop):
        yield light(index, version)


def deep(index: int) -> dict[str, Any]:
    """Forty keys, ten levels down, in as many chains of objects."""
    nested: dict[str, Any] = {"content_hash": record(index)["content_hash"]}
    for number in range(13):
        level = nested
        for depth in range(9):
            level = level.setdefault(f"part_{number if depth == 0 else depth}", {})
        level.update({f"leaf_{leaf}": f"value {number} {leaf} {index}" for leaf in range(3)})
    return nested


def rare(index: int) -> dict[str, Any]:
    """Forty keys, five of which are among fifteen hundred that hardly any other file has."""
    data = record(index)
    rng = random.Random(index)
    del data["headers"]["via"], data["headers"]["etag"], data["parent_id"], data["reference"], data["languages"]
    return data | {f"rare_{rng.randrange(1_500)}": f"value {index}" for _ in range(5)}


def long(index: int) -> dict[str, Any]:
    """Forty keys, one of which holds a text of 20 KB."""
    rng = random.Random(index)
    return record(index) | {"text": " ".join(rng.choice(WORDS) for _ in range(2_400))}
