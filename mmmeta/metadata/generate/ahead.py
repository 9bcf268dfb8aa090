"""Metadata files are read in the second process ahead of their turn, where many are new; their order stays."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from mmmeta.metadata.generate.second import Asked, SecondProcess
from mmmeta.metadata.generate.walk import Entry
from mmmeta.values import Flattened

FROM = 10_000
"""New files after which the second process is started: by then as much work is left, mostly, as its start takes."""

_TOGETHER = 64
"""Files that are handed over at once; handing over costs as much as reading one or two."""

_SIZE = 1 << 18
"""Bytes of the files that are handed over at once; larger ones are read here, so that memory stays bounded."""

_AHEAD = 8
"""How often so many are read ahead."""


class Parsed(NamedTuple):
    """The metadata of a file as it stands there, and its fingerprint."""

    flattened: Flattened
    fingerprint: bytes


class ReadAhead:
    """Hands files on in their order, each with its metadata where that was read already.

    Args:
        path: where the file at a key lies.
        reads: whether a file is one metadata file.
        notice: called with each file that is read ahead while the walk is where it lies.
    """

    def __init__(
        self,
        second: SecondProcess,
        *,
        path: Callable[[bytes], bytes],
        reads: Callable[[Entry], bool],
        notice: Callable[[Entry], None],
    ) -> None:
        self._second = second
        self._path = path
        self._reads = reads
        self._notice = notice

    def run(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Parsed | None]]:
        """The same files; None for what was not read, for whatever reason."""
        waiting: deque[tuple[list[Entry], Asked | None]] = deque()
        batch: list[Entry] = []
        size = 0
        helped = False
        for number, entry in enumerate(entries, 1):
            if not helped:
                if number == FROM:
                    self._second.start()
                helped = self._second.serves  # started here, or for documents
                if not helped:
                    yield entry, None
                    continue
            self._notice(entry)
            batch.append(entry)
            size += entry.size
            if len(batch) >= _TOGETHER or size >= _SIZE:
                waiting.append((batch, self._ask(batch)))
                batch, size = [], 0
                if len(waiting) >= _AHEAD:
                    yield from _answered(*waiting.popleft())
        for asked in waiting:
            yield from _answered(*asked)
        yield from ((entry, None) for entry in batch)

    def _ask(self, batch: list[Entry]) -> Asked | None:
        return self._second.ask(
            "parse",
            [
                (self._path(entry.key), entry.size) if entry.size < _SIZE and self._reads(entry) else (b"", 0)
                for entry in batch
            ],
        )


def _answered(batch: list[Entry], asked: Asked | None) -> Iterator[tuple[Entry, Parsed | None]]:
    answer = asked.answer() if asked is not None else None
    if answer is None:
        yield from ((entry, None) for entry in batch)
        return
    shapes, found = answer
    for entry, one in zip(batch, found, strict=True):
        if one is None:
            yield entry, None
        else:
            shape, values, clashes, fingerprint = one
            yield entry, Parsed(Flattened(dict(zip(shapes[shape], values, strict=True)), clashes), fingerprint)
