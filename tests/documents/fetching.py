"""What fetches one document from a server of a test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmmeta.documents.source import Deadline
from mmmeta.documents.transfer import download
from mmmeta.documents.web import WebSources

BODY = b"%PDF-1.7 " + b"a contract\n" * 20_000
CHUNKED = "Transfer-Encoding: chunked"


def fetch(url: str, target: Path, seconds: float = 20, sources: WebSources | None = None, **options: Any) -> bytes:
    made = sources or WebSources(("http", "https"), **options)
    try:
        download(url, target, allowed_roots=[], web=made, deadline=Deadline(url, seconds))
    finally:
        if sources is None:
            made.close()
        assert [path.name for path in target.parent.iterdir()] in ([], [target.name])
    return target.read_bytes()


def chunks(*parts: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + end
