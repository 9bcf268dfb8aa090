"""Web servers that asked to wait, or that say nothing: until when nobody asks them again.

What one file has met holds for all others of its host, in this run, and in the next ones by what ``news`` tells.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from mmmeta.errors import PostponedError

BACKOFF = 60.0
"""Seconds that a host gets the first time, where neither it nor the job says how long; doubled each time in a row."""

SHORTEST = 1.0
LONGEST = 86_400.0
"""Seconds between which every wait is, whatever a server says."""

SLOW = 5.0
"""Seconds after which a connection that fails without an answer has cost as much as a silent one."""


class Closed(NamedTuple):
    """A host that is not asked.

    Attributes:
        until: seconds since 1970.
        times: how often in a row.
        reason: what it did, to follow "which".
    """

    until: float
    times: int
    reason: str


class Hosts:
    """The hosts that a run has to do with; for all its threads.

    Args:
        backoff: seconds that a host gets the first time, where it does not say how long.
    """

    def __init__(self, backoff: float = BACKOFF) -> None:
        self._backoff = backoff
        self._lock = threading.Lock()
        self._closed: dict[str, Closed] = {}
        self._news: dict[str, Closed | None] = {}
        self._answered: dict[str, float] = {}

    def learn(self, closed: Mapping[str, Closed]) -> None:
        """Take over what all runs know by now; what was not told to them yet counts more."""
        with self._lock:
            known = {**closed, **self._news}
            self._closed = {host: one for host, one in known.items() if one is not None}

    def news(self) -> dict[str, Closed | None]:
        """What changed since this was asked last: host → until when it is closed, None where it answers again."""
        if not self._news:
            return {}
        with self._lock:
            news, self._news = self._news, {}
            return news

    def require_open(self, host: str) -> None:
        """Raise PostponedError if the host is not to be asked now."""
        closed = self._closed.get(host)
        # A clock that was set back must not close a host for years.
        if closed is not None and 0 < closed.until - time.time() <= LONGEST:
            raise _postponed(host, closed, asked=False)

    def answered(self, host: str) -> None:
        """A host gave what it was asked for."""
        self._answered[host] = time.monotonic()
        closed = self._closed.get(host)
        # What was asked before it closed tells nothing.
        if closed is not None and closed.until <= time.time():
            with self._lock:
                self._closed.pop(host, None)
                self._news[host] = None

    def refused(self, host: str, reason: str, wait: float | None, *, whole: bool = True) -> PostponedError:
        """A host asked to wait; the error to raise for the file that has met it.

        Args:
            wait: seconds, as the host says; None where it does not.
            whole: whether that holds for all that the host has, and not only for this one document.
        """
        if not whole:
            return _postponed(host, Closed(time.time() + _bounded(wait or 0.0), 1, reason), asked=True)
        return _postponed(host, self._close(host, reason, wait), asked=True)

    def silent(self, host: str, since: float) -> None:
        """A host has let somebody wait for nothing; close it, unless it has answered others meanwhile.

        Args:
            since: when it was asked, as ``time.monotonic`` counts.
        """
        if self._answered.get(host, 0.0) < since:
            self._close(host, "was silent", None)

    def _close(self, host: str, reason: str, wait: float | None) -> Closed:
        now = time.time()
        with self._lock:
            before = self._closed.get(host)
            times = 0 if before is None else before.times
            if before is None or before.until <= now:  # else it is the same refusal, which several threads have met
                times += 1
            if wait is None:
                wait = self._backoff * 2.0 ** min(max(times, 1) - 1, 30)
            until = now + _bounded(wait)
            closed = Closed(max(until, before.until) if before is not None else until, times, reason)
            self._closed[host] = self._news[host] = closed
            return closed


def retry_after(value: str | None, date: str | None) -> float | None:
    """Seconds that ``Retry-After`` asks for; None where it is absent or says nothing.

    Args:
        value: of the header: seconds, or a date.
        date: of the header ``Date``: by the server's own clock is counted, ours may be wrong.
    """
    text = (value or "").strip()
    if re.fullmatch(r"\d{1,12}(\.\d*)?", text):
        return float(text)
    moment = _moment(text)
    if moment is None:
        return None
    now = _moment(date or "") or datetime.now(timezone.utc)
    return max(0.0, (moment - now).total_seconds())


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)


def _bounded(wait: float) -> float:
    return min(max(wait, SHORTEST), LONGEST)


def _postponed(host: str, closed: Closed, *, asked: bool) -> PostponedError:
    until = datetime.fromtimestamp(closed.until, timezone.utc)
    return PostponedError(f"waiting for {host}, which {closed.reason}", host=host, until=until, asked=asked)
