"""What the metadata of a sample holds: how many have a key, of which types its values are, and whether they tell files
apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmmeta.init.dates import Dates, dates_of
from mmmeta.values import RESERVED_PREFIX, TYPE_NAMES, json_text, kind_of

MOST_KEYS = 2_000
"""Keys that are looked at; those that come later are counted together, for metadata may have a key of its own in every file."""


@dataclass
class KeyFacts:
    """One metadata key.

    Attributes:
        key: the flattened name.
        count: records that have it.
        types: what people call a type → values of it.
        usable: values that can identify a file: text that is not empty, or an integer.
        texts: text → how often it came.
        others: the same of values of other types, as their JSON text.
        dates: the date formats of its texts, None for a key that holds none.
    """

    key: str
    count: int = 0
    types: Counter[str] = field(default_factory=Counter)
    usable: int = 0
    texts: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    dates: Dates | None = None

    def add(self, value: Any) -> None:
        """Count one value."""
        self.count += 1
        name = TYPE_NAMES[kind_of(value)]
        self.types[name] += 1
        if name == "text":
            self.texts[value] += 1
            self.usable += value != ""
        elif name != "null":
            self.others[json_text(value)] += 1
            self.usable += name == "integer"

    @property
    def repeated(self) -> tuple[str, int] | None:
        """The value that most records have, and how many these are; None where each has its own."""
        # 1 and "1" are one file.
        (value, count), *_ = [*(self.texts + self.others).most_common(1), ("", 0)]
        return (value, count) if count > 1 else None

    def identifies(self, records: int) -> bool:
        """Whether each of the records has a value of its own that can identify a file."""
        return records > 0 and self.usable == records and self.repeated is None

    @property
    def is_mixed(self) -> bool:
        """Whether values of several types came, null aside; integers beside other numbers are one type to people."""
        types = set(self.types) - {"null"}
        return len(types - {"integer", "number"}) + bool(types & {"integer", "number"}) > 1


class Keys:
    """The keys of a sample.

    Attributes:
        records: how many records were added.
        facts: key → what is known of it, in the order in which they came.
        further: keys beyond the first ``MOST_KEYS``.
    """

    def __init__(self) -> None:
        self.records: int = 0
        self.facts: dict[str, KeyFacts] = {}
        self.further: set[str] = set()

    def add(self, values: Mapping[str, Any]) -> None:
        """Count one record."""
        self.records += 1
        for key, value in values.items():
            facts = self.facts.get(key)
            if facts is None:
                if len(self.facts) >= MOST_KEYS:
                    self.further.add(key)
                    continue
                facts = self.facts[key] = KeyFacts(key)
            facts.add(value)

    def close(self) -> None:
        """All records were added: look for dates."""
        for facts in self.facts.values():
            # 20200131 without quotes is a date as well, if the key's name says so.
            numbers = {text: count for text, count in facts.others.items() if text.isdigit()}
            facts.dates = dates_of(facts.key, {**facts.texts, **numbers})

    def identifying(self) -> list[str]:
        """The keys that each record has a value of its own for; those whose name promises it first."""
        found = [key for key, facts in self.facts.items() if facts.identifies(self.records) and is_key(key)]
        return sorted(found, key=lambda key: (_promise(key), found.index(key)))


def _promise(key: str) -> int:
    """How little a key's name promises that it identifies: 0 for one that is made for it."""
    name = key.rpartition(":")[2].lower()
    if key in ("foreign_id", "id", "uid", "uuid", "guid"):
        return 0
    if name.endswith(("id", "hash", "sha1", "sha256", "checksum", "number", "nr")):
        return 1
    return 2 if name.endswith(("url", "uri", "link", "href", "path")) else 3


def is_key(key: str) -> bool:
    """Whether config.yml can name a key."""
    return bool(key) and key == key.strip() and not key.startswith(RESERVED_PREFIX)
