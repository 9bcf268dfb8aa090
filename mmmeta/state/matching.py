"""Which file of before is which file of now, where something else identifies files: by values that both have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmmeta.values import json_text


@dataclass
class Matches:
    """What was found.

    Attributes:
        names: old name → new name.
        by: key → how many files it has matched.
        earlier: old names that share a value with a file that was matched already: earlier versions of it, mostly.
        ambiguous: old name → the values, by key, that several files share.
        alone: old names, not deleted, for which there is nothing.
    """

    names: dict[str, str] = field(default_factory=dict)
    by: dict[str, int] = field(default_factory=dict)
    earlier: list[str] = field(default_factory=list)
    ambiguous: dict[str, str] = field(default_factory=dict)
    alone: list[str] = field(default_factory=list)


class Side:
    """The values of the files of one side under some keys."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.values: dict[str, dict[str, list[str]]] = {key: {} for key in keys}
        self.alive: dict[str, bool] = {}
        self._of: dict[str, dict[str, str]] = {key: {} for key in keys}

    def add(self, name: str, values: Mapping[str, Any], *, alive: bool) -> None:
        """Take in one file."""
        self.alive[name] = alive
        for key, known in self.values.items():
            value = values.get(key)
            if value is not None and value != "":
                text = value if isinstance(value, str) else json_text(value)
                known.setdefault(text, []).append(name)
                self._of[key][name] = text

    def value(self, key: str, name: str) -> str | None:
        """What a file has under a key, as text."""
        return self._of[key].get(name)


def match(before: Side, now: Side, keys: Sequence[str]) -> Matches:
    """Match files one to one; what several on either side share under a key is left to the next key.

    A file that is deleted steps back behind one that is not.
    """
    found = Matches()
    taken: set[str] = set()
    shared: dict[str, str] = {}
    for key in keys:
        for value, old_names in before.values[key].items():
            olds = [name for name in old_names if name not in found.names]
            olds = [name for name in olds if before.alive[name]] or olds
            news = [name for name in now.values[key].get(value, ()) if name not in taken]
            news = [name for name in news if now.alive[name]] or news
            if len(olds) == 1 and len(news) == 1:
                found.names[olds[0]] = news[0]
                found.by[key] = found.by.get(key, 0) + 1
                taken.add(news[0])
            elif olds and news:
                shared.update(dict.fromkeys(olds, f"{key} {value!r}"))
    for name, is_alive in before.alive.items():
        if name in found.names or not is_alive:
            continue
        if name in shared and not _is_settled(before, now, name, keys, taken):
            found.ambiguous[name] = shared[name]
        elif any(now.values[key].get(before.value(key, name) or "") for key in keys):
            found.earlier.append(name)
        else:
            found.alone.append(name)
    return found


def _is_settled(before: Side, now: Side, name: str, keys: Sequence[str], taken: set[str]) -> bool:
    """Whether all that a file could have been matched with is another's by now."""
    return all(
        other in taken
        for key in keys
        if (value := before.value(key, name)) is not None
        for other in now.values[key].get(value, ())
    )
