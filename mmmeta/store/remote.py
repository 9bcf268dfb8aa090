"""What a remote has published last, read from its own store: in a folder, or wherever fsspec can read.

Two small files, no database, nothing is copied. It is for those who want to know of news before a sync brings them.
"""

from __future__ import annotations

import concurrent.futures
import os
import threading
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote, urlsplit

from mmmeta.documents.source import Deadline, is_local, protocol_of, reason
from mmmeta.documents.web import WebSources, below
from mmmeta.errors import DownloadError, StoreAccessError
from mmmeta.layout import METADIR, Layout
from mmmeta.masking import shown
from mmmeta.store.store import Store
from mmmeta.store.text import decode, read_moment

TIMEOUT = 10.0
"""Seconds until a remote that does not answer is given up."""

LARGEST = 64 * 1024
"""Bytes of a value of the store; what is larger is something else, and is not read to its end."""

_STORE = f"{METADIR}/_store"
_PUBLISHED, _REVISION = "remote_last_updated", "remote_revision"

_looking: dict[str, threading.Thread] = {}
"""Base path → the look that is under way. A folder of a file server that hangs cannot be given up by anybody; it holds
one thread, and not one more with each look."""
_lock = threading.Lock()


@dataclass(frozen=True)
class Publication:
    """What the store at a remote says.

    Attributes:
        text: exact text of ``remote_last_updated``; another one is another publication.
        moment: the same, aware UTC.
        revision: of the metadata db; None where the store has none.
    """

    text: str
    moment: datetime
    revision: int | None


def read_publication(base: str | os.PathLike[str], *, timeout: float = TIMEOUT) -> Publication:
    """Read ``remote_last_updated`` and ``remote_revision`` below ``<base>/_mmmeta/_store``.

    fsspec's own configuration holds (``FSSPEC_S3_ENDPOINT_URL``, credentials); ``file:`` URLs and paths are read without it.

    Args:
        base: the remote's base path: a path, or a URL that fsspec reads.
        timeout: seconds; never takes longer.

    Raises:
        StoreAccessError: it is not there, cannot be read in time, or says no moment. Secrets of a URL are not in the message.
    """
    place = os.fspath(base)
    answer: concurrent.futures.Future[Publication] = concurrent.futures.Future()

    def look() -> None:
        try:
            # Longer than anybody waits for it, so that what is said is said below.
            answer.set_result(_read(place, Deadline(shown(place), timeout + 1)))
        except Exception as error:  # each file system has errors of its own
            answer.set_exception(error)

    with _lock:
        before = _looking.get(place)
        if before is not None and before.is_alive():
            raise StoreAccessError(f"{shown(place)}: an earlier look still waits for an answer")
        _looking[place] = thread = threading.Thread(target=look, name="mmmeta-remote-store", daemon=True)
        thread.start()
    try:
        return answer.result(timeout)
    except StoreAccessError:
        raise
    except DownloadError as error:
        raise StoreAccessError(str(error)) from error
    except concurrent.futures.TimeoutError as error:
        if not answer.done():
            raise StoreAccessError(f"{shown(place)}: no answer within {timeout:g} seconds") from None
        raise StoreAccessError(f"{shown(place)}: {reason(error, place)}") from error
    except Exception as error:
        raise StoreAccessError(f"{shown(place)}: {type(error).__name__}: {reason(error, place)}") from error


def _read(base: str, deadline: Deadline) -> Publication:
    if is_local(base) or "://" not in base:
        path = unquote(urlsplit(base).path) if base[:5].lower() == "file:" else base
        store = Store(Layout.at(path))
        return _publication(str(Layout.at(path).store / _PUBLISHED), store.raw(_PUBLISHED), store.raw(_REVISION))
    with closing(WebSources((protocol_of(base),), by_url=True)) as web:
        published = _fetch(web, below(base, f"{_STORE}/{_PUBLISHED}"), deadline)
        try:
            revision = _fetch(web, below(base, f"{_STORE}/{_REVISION}"), deadline)
        except DownloadError:
            revision = None  # what was published is known without it
    return _publication(shown(below(base, f"{_STORE}/{_PUBLISHED}")), published, revision)


def _fetch(web: WebSources, url: str, deadline: Deadline) -> str:
    content = b""
    with web.open(url, deadline) as source:
        if source.size is not None and source.size > LARGEST:
            raise DownloadError(f"{shown(url)}: is no value of a store, it has {source.size:,} bytes")
        for chunk in source.chunks():
            content += chunk
            if len(content) > LARGEST:
                raise DownloadError(f"{shown(url)}: is no value of a store, it has more than {LARGEST:,} bytes")
        source.verify(len(content))
    return content.decode("utf-8", errors="replace")


def _publication(where: str, published: str | None, revision: str | None) -> Publication:
    if published is None:
        raise StoreAccessError(f"{where} is not there")
    moment = read_moment(published)
    if moment is None:
        raise StoreAccessError(f"{where} holds {published[:40]!r}, which is no moment (yet)")
    number = decode(revision or "")
    return Publication(published, moment, number if type(number) is int else None)
