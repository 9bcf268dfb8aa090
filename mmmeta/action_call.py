"""The action ``call``: a Python function."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from mmmeta.action import Item, failed
from mmmeta.errors import JobError, near_misses
from mmmeta.file import File
from mmmeta.ledger import Outcome


class CallFunction:
    """Calls a function with each file, or with the list of a batch's files; what it raises is the files' failure."""

    keeps_time = False

    def __init__(self, function: Callable[[Any], object], *, batched: bool) -> None:
        self.batched = batched
        self._function = function

    def process(self, items: Sequence[Item]) -> list[Outcome]:
        try:
            if self.batched:
                self._function([item.file for item in items])
            else:
                for item in items:
                    self._function(item.file)
        except Exception as error:
            return [failed(item.claim, error) for item in items]
        return [Outcome(item.claim) for item in items]

    def retract(self, items: Sequence[Item]) -> list[Outcome]:
        return self.process(items)

    def missing(self, files: Sequence[File]) -> dict[str, str] | None:
        return None

    def close(self) -> None:
        """Nothing to let go of."""


def import_function(name: str, job: str) -> Callable[[Any], object]:
    """Import ``package.module:function``.

    Raises:
        JobError: module or function is not there; the message names the near misses.
    """
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise JobError(f"job {job!r}: {module_name!r} cannot be imported: {type(error).__name__}: {error}") from error
    function = module
    for part in attribute.split("."):
        function = getattr(function, part, None)  # type: ignore[assignment]
    if not callable(function):
        raise JobError(
            f"job {job!r}: {module_name!r} has no function {attribute!r}.{near_misses(attribute, dir(module))}"
        )
    return function
