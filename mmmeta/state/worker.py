"""The client's side as a worker without a metadir has it: the ledger, and what the ledger tells of files.

Nothing is read from or written to the disk.
"""

from __future__ import annotations

import time
from typing import Any, NoReturn

from mmmeta.catalog.catalog import Catalog
from mmmeta.clock import Clock
from mmmeta.config.model import Config
from mmmeta.errors import NoFilesError, StateDbError
from mmmeta.masking import shown
from mmmeta.metadata.server import Server
from mmmeta.state.ledger.payloads import Common, Told
from mmmeta.state.state import State
from mmmeta.state.status import Status
from mmmeta.state.told import ToldCatalog
from mmmeta.state.update import UpdateOptions, UpdateReport
from mmmeta.store.store import Store

KEYS_FOR = 10.0
"""Seconds after which a worker asks which keys files have by now: one that is new reads as absent where it is not known yet."""


class WorkerState(State):
    """A state whose files are elsewhere; what needs all of them raises ``NoFilesError``."""

    is_worker = True

    def __init__(self, server: Server, store: Store, clock: Clock) -> None:
        super().__init__(server, store, clock, lambda state: self.refuse())
        self._common: Common | None = None
        self._config: Config | None = None
        self._keys: tuple[Catalog, float] | None = None

    def refuse(self, *_: object) -> NoReturn:
        """Say that this is a worker.

        Raises:
            NoFilesError: always.
        """
        raise NoFilesError(
            f"this is a worker: it has the ledger at {shown(self.layout.ledger or '')}, and no files but those that it has "
            "claimed. Ask where `mmmeta update` runs"
        )

    @property
    def common(self) -> Common:
        """What holds for all files.

        Raises:
            StateDbError: nobody has evaluated any job yet.
        """
        if self._common is None:
            self._common = self.ledger.common()
        if self._common is None:
            raise StateDbError(
                f"the ledger at {shown(self.layout.ledger or '')} knows no files yet: run `mmmeta update` where the metadir is, "
                "with this state, before workers help"
            )
        return self._common

    @property
    def config(self) -> Config:
        if self._config is None:
            self._config = Config.model_validate(self.common.config)
        return self._config

    def action_config(self) -> Config:
        config = self.config
        unique = self.common.unique
        if config.metadata.unique == unique:
            return config
        return config.model_copy(update={"metadata": config.metadata.model_copy(update={"unique": unique})})

    def require_ledger(self) -> None:
        assert self.common

    def has_ledger(self) -> bool:
        return True

    def catalog(self, *, warn: bool = True) -> Catalog:
        """No files, but all keys that files have."""
        now = time.monotonic()
        if self._keys is None or now - self._keys[1] > KEYS_FOR:
            self._common = None
            self._keys = ToldCatalog(self.common, {}, self.clock(), fill=self.refuse), now
        return self._keys[0]

    def catalog_of(self, told: dict[str, Told]) -> Catalog:
        """These files."""
        return ToldCatalog(self.common, told, self.clock())

    def merged(self) -> NoReturn:
        self.refuse()

    def merge(self, options: UpdateOptions) -> UpdateReport:
        self.refuse()

    def is_outdated(self) -> bool:
        self.refuse()

    def has_news(self) -> bool:
        return False

    def mark(self) -> None:
        """Nothing follows this copy."""

    def save(self, unique_value: str, changed: dict[str, Any], removed: set[str]) -> None:
        own = self.ledger.own
        assert own is not None
        own.save({unique_value: (changed, removed)})

    def status(self) -> Status:
        self.refuse()

    def write_status(self) -> None:
        """Nobody here reads it."""
