"""The keys that a job asks for, and what is said where no file has them: most often they are mistyped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmmeta.catalog.catalog import Catalog
from mmmeta.errors import UnknownKeyError, UnknownKeyWarning, near_misses, warn_caller
from mmmeta.filters import Condition, parse
from mmmeta.project.job import JobConfig


class AskedKeys:
    """The keys of one job's definition.

    Args:
        strict: refuse a selection by a key that no file has. A job made in Python may select by what only the client
            will set: that is right from the first day.
    """

    def __init__(self, config: JobConfig, *, strict: bool) -> None:
        self._config = config
        self._strict = strict
        self._warned = False

    def check(self, catalog: Catalog) -> None:
        """Refuse, or warn of once, what the definition asks for and no file has; with no files nothing can be said.

        An order or ``rerun_on`` by such a key does nothing, so that is said.

        Raises:
            UnknownKeyError: of a strict job; names rule, key and near misses.
        """
        if not catalog.alive:
            return
        config = self._config
        asked = {
            "order_by": [] if config.order_by is None else [config.order_by.removeprefix("-")],
            "once_per": [] if config.once_per is None else [config.once_per],
            "rerun_on": config.rerun_on if isinstance(config.rerun_on, list) and not config.reruns_by_default else [],
        }
        if self._strict:
            asked["where"] = catalog.unknown_keys(config.condition)
        for rule, keys in asked.items():
            for key in keys:
                if catalog.knows(key):
                    continue
                message = f"job {config.name!r}: no file has the key {key!r}.{near_misses(key, catalog.keys)}"
                if self._strict:
                    own = ", or, if it is a column of your own, set it for one file first" if rule == "where" else ""
                    raise UnknownKeyError(f"{message} Mend `{rule}` in the project file{own}")
                if not self._warned:
                    warn_caller(f"{message} `{rule}` does nothing until one has", UnknownKeyWarning)
        self._warned = True

    def doubt(self, catalog: Catalog) -> str | None:
        """That the selection asks for keys which no file has, in a sentence; None where all is known."""
        keys = catalog.unknown_keys(self._config.condition) if catalog.alive else []
        told = [f"no file has the key {key!r} yet.{near_misses(key, catalog.keys)}" for key in keys]
        return f"job {self._config.name!r}: {' And '.join(told)}" if told else None

    def narrowed(self, only: Mapping[str, Any], catalog: Catalog) -> Condition:
        """``only``, parsed. By a mistyped key nothing would be done, or, where absent counts as False, everything.

        Raises:
            UnknownKeyError: no file has a key of it.
        """
        condition = parse(only)
        for key in catalog.unknown_keys(condition) if catalog.alive else ():
            near = near_misses(key, catalog.keys)
            raise UnknownKeyError(
                f"job {self._config.name!r}: no file has the key {key!r}, which `only` asks for.{near}"
            )
        return condition
