"""The sign of life of a run: its leases are prolonged, and status.json says that it goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from mmmeta.errors import MmmetaError
from mmmeta.jobs.actions.action import Action
from mmmeta.jobs.bench import Bench
from mmmeta.sqlite.forks import inside
from mmmeta.state.liveness import Alive, boot_seconds

_log = logging.getLogger(__name__)

BEAT_EVERY = 10.0
"""Seconds between two signs of life in the ledger and status.json; the sensor takes three missed ones for a death."""


class Keeper:
    """Says in the background that a run lives, and prolongs its leases, until the run ends."""

    def __init__(self, bench: Bench, worker: Alive, run_id: str | None) -> None:
        self._bench = bench
        self._worker = worker
        self._run_id = run_id
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"mmmeta {bench.config.name}", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _keep(self) -> None:
        lease = self._bench.config.lease
        while not self._over.wait(min(BEAT_EVERY, lease / 3)):
            try:
                with inside():
                    self._beat(lease)
            except Exception as error:  # whatever it is: without a sign of life the claims pass to others
                _log.warning("job %s could not say that it lives: %s", self._bench.config.name, error)

    def _beat(self, lease: float) -> None:
        self._worker.stay()
        with self._bench.changing() as ledger:
            until = boot_seconds() + lease
            ledger.renew(self._worker.name, lease, self._run_id)
        self._worker.lease.prolong(until)
        self._bench.state.write_status()


@contextmanager
def at_work(bench: Bench, action: Action, run_id: str | None) -> Iterator[Alive]:
    """A worker that lives as long as the block; at its end everything is put in order, however it ends."""
    worker = bench.worker()
    worker.start()
    try:
        with Keeper(bench, worker, run_id):
            yield worker
    except BaseException:
        # That the rest cannot be put in order, often for the same reason, is not what is to be seen.
        for last in (partial(worker.stop, holds=True), action.close, partial(_tell_status, bench)):
            with suppress(MmmetaError, OSError):
                last()
        raise
    worker.stop()
    action.close()
    _tell_status(bench)


def _tell_status(bench: Bench) -> None:
    if bench.state.has_ledger():
        bench.state.write_status()
