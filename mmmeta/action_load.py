"""The action ``load``: metadata rows into an SQL table, exactly once."""

from __future__ import annotations

from collections.abc import Sequence

from mmmeta.action import Item, failed
from mmmeta.config import Config
from mmmeta.errors import MmmetaError
from mmmeta.file import File
from mmmeta.ledger import Outcome
from mmmeta.project_actions import LoadAction


class Load:
    """Writes metadata rows into an SQL table with receipts in the same transaction: exactly once."""

    batched = True
    keeps_time = True

    def retract(self, items: Sequence[Item]) -> list[Outcome]:
        raise NotImplementedError

    def missing(self, files: Sequence[File]) -> dict[str, str] | None:
        raise NotImplementedError

    def __init__(self, action: LoadAction, config: Config, job: str, state_id: str) -> None:
        from mmmeta.load import SqlTarget

        self._target = SqlTarget(action.to, action.table, config.metadata.unique)
        self._job = job
        self._state_id = state_id

    def process(self, items: Sequence[Item]) -> list[Outcome]:
        from mmmeta.load import Row

        rows = [Row(item.file.unique_value, dict(item.file.meta), item.claim.token) for item in items]
        try:
            written = self._target.write(rows, state_id=self._state_id, job=self._job)
        except MmmetaError as error:
            return [failed(item.claim, error) for item in items]
        outcomes = []
        for item in items:
            name = item.file.unique_value
            if name in written.failed:
                outcomes.append(Outcome(item.claim, "LoadError", str(written.failed[name])))
            elif name in written.refused:
                outcomes.append(Outcome(item.claim, "LoadError", "another worker has taken this file over since"))
            else:
                outcomes.append(Outcome(item.claim))
        return outcomes

    def close(self) -> None:
        self._target.close()
