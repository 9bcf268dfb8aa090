"""The sign of life of a Dagster run, given while a step of it works. What such a sign is, and what it proves, says
``mmmeta.state.signs``."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mmmeta.layout import Layout
from mmmeta.state.open import open_run_sign

BEAT = 5.0
"""Seconds between two signs of life. A good deal less than ``runs.FRESH``, after which a run counts as killed."""


@contextmanager
def beating(layout: Layout, run_id: str) -> Iterator[None]:
    """Give signs of life for a run while the block (one step of it) runs, also while it is stuck in a long call.

    Raises:
        LegacyMetadirError: the metadir is an old one, into which nothing is written.
    """
    sign = open_run_sign(layout, run_id)
    if not sign.begin():
        yield
        return
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT):
            sign.beat()

    thread = threading.Thread(target=beat, name=f"heartbeat {run_id[:8]}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        sign.end()
