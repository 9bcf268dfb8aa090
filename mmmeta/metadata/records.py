"""From a metadata file to a record: which keys are kept, and what identifies the file."""

from __future__ import annotations

from typing import Any

from mmmeta.catalog.derived import derived_text
from mmmeta.config.model import Config
from mmmeta.errors import UniqueValueError, ValueNotSupportedError
from mmmeta.fingerprints import fingerprint
from mmmeta.metadata.writer import Record
from mmmeta.values import RESERVED_PREFIX, SEPARATOR


class KeyFilter:
    """Decides which keys are kept, by ``include`` and ``exclude``; a name covers what is nested below it.

    The keys with a meaning of their own, and the required ones with what is nested below them, are always kept.
    """

    def __init__(self, config: Config) -> None:
        metadata = config.metadata
        self._include = None if metadata.include is None else set(metadata.include)
        self._exclude = set(metadata.exclude)
        self._always = {metadata.unique, metadata.content, metadata.file_name}
        self._required = set(metadata.required)
        self._kept: set[str] = set()
        self._dropped: set[str] = set()
        self.reserved: set[str] = set()

    def keep(self, values: dict[str, Any]) -> dict[str, Any]:
        """The values whose keys are kept; reserved keys are noted in ``reserved``."""
        if self._kept.issuperset(values):
            return values
        for key in values.keys() - self._kept - self._dropped:
            if key.startswith(RESERVED_PREFIX):
                self.reserved.add(key)
            else:
                (self._kept if self._wanted(key) else self._dropped).add(key)
        if self._kept.issuperset(values):
            return values
        return {key: value for key, value in values.items() if key in self._kept}

    def _wanted(self, key: str) -> bool:
        if key in self._always:
            return True
        parts = key.split(SEPARATOR)
        names = {SEPARATOR.join(parts[: count + 1]) for count in range(len(parts))}
        if self._include is not None and names.isdisjoint(self._required) and names.isdisjoint(self._include):
            return False
        return names.isdisjoint(self._exclude)


def unique_value(values: dict[str, Any], unique: str) -> str:
    """The text that identifies a file.

    Raises:
        UniqueValueError: it is missing, empty, or neither text nor integer.
    """
    value = values.get(unique)
    if type(value) is str and value:
        return value
    if type(value) is int:
        return str(value)
    if unique not in values:
        raise UniqueValueError(f"the unique key {unique!r} is missing; add it, or set metadata.unique in config.yml")
    raise UniqueValueError(
        f"the unique key {unique!r} is {value!r:.80}; it must be a text that is not empty, or an integer"
    )


def make_record(
    values: dict[str, Any],
    config: Config,
    source: str | None,
    mtime: int | None,
    *,
    derived: tuple[str, ...] = (),
    known: bytes | None = None,
) -> Record:
    """A record of kept values, checked for the unique and the required keys; ``derived`` names those that are not the
    metadata's own, ``known`` is the fingerprint where that was made before.

    Raises:
        UniqueValueError, ValueNotSupportedError: a key is missing or unusable.
    """
    return Record(identify(values, config), values, known or fingerprint(values), source, mtime, derived_text(derived))


def identify(values: dict[str, Any], config: Config) -> str:
    """The unique value of kept values; raises as ``make_record``."""
    file = unique_value(values, config.metadata.unique)
    for key in config.metadata.required:
        if key not in values and not any(name.startswith(key + SEPARATOR) for name in values):
            raise ValueNotSupportedError(f"the required key {key!r} is missing (config.yml: metadata.required)")
    return file
