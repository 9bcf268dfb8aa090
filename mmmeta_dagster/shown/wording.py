"""Moments and numbers of files as the sensor and the schedules say them."""

from __future__ import annotations

from datetime import datetime

from mmmeta.clock import from_text


def clock_text(moment: datetime) -> str:
    """An aware moment in UTC."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def published_text(text: str) -> str:
    """The store's ``remote_last_updated`` as people read it."""
    try:
        return clock_text(from_text(text.strip()))
    except ValueError:
        return text.strip()


def files(number: int) -> str:
    """A number of files, with the verb: ``3 files are``."""
    return "1 file is" if number == 1 else f"{number} files are"


def retries(failed: int) -> str:
    """The one of the failed files whose pause ends first, with the verb."""
    return "1 failed file is" if failed <= 1 else f"the first of {failed} failed files is"
