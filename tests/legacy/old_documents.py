"""Metadata of documents of nobody, the same for every version: what the migration has to bring back."""

from __future__ import annotations

from typing import Any

DOCUMENTS: dict[str, dict[str, Any]] = {
    "a": {"title": 'A, with "quotes"\nand a second line', "pages": 12, "size": 1.5, "public": True, "tags": ["x", "y"]},
    "b": {"title": "B", "pages": 0, "size": 0.0, "public": False, "tags": []},
    "c": {"title": "123", "pages": 3, "size": 2.0, "public": True, "tags": ["z"], "note": None},
    "d": {"title": "Ä ö 漢", "pages": 4, "size": 3.0, "public": False, "tags": ["it's"]},
    "e": {"title": "", "pages": 5, "size": 4.0, "public": True, "tags": ["x"]},
    "f": {"title": "F", "pages": 6, "size": 5.5, "public": True, "tags": ["y"], "later": "new key"},
    "g": {"title": "G", "pages": 7, "size": 6.5, "public": True, "tags": []},
}
"""Falsy values, quotes and line ends, what looks like a number and is none."""


def record(name: str) -> dict[str, Any]:
    """The whole metadata of a document."""
    number = ord(name) - ord("a")
    return {
        "content_hash": name * 8,
        "_file_name": f"{name}.pdf",
        "document_type": "contract" if number % 2 == 0 else "minutes",
        "reference": f"00{number}",
        "published_at": f"2023-01-0{number + 1}",
        "retrieved_at": f"2023-01-0{number + 1}T03:04:05",
        "publisher": {"name": "" if name == "b" else "Land", "jurisdiction": {"id": "de"}},
        "headers": {"content-type": "application/pdf"},
        **DOCUMENTS[name],
    }
