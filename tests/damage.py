"""Damaged copies of a database: what disks, sync tools and bugs of others make of a file, the same for the same seed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator

COPIES = int(os.environ.get("MMMETA_DAMAGED_COPIES") or 40)
"""Damaged copies that a test tries of one file; set it to some thousands after changes in what reads the databases."""

_PAGE = 4096
_HEADER = 100
"""Bytes of SQLite's header, which tests of their own look at."""


def damaged_copies(sound: bytes, seed: str, copies: int = COPIES) -> Iterator[tuple[str, bytes]]:
    """Copies that differ from the sound file, each with a word on how it was made, for the message of a failed test."""
    for number in range(copies):
        rng = random.Random(f"{seed}/{number}")
        kind = rng.choice(list(_KINDS))
        broken = _KINDS[kind](sound, rng)
        if broken != sound:
            yield f"{kind} {number}", broken


def _flip(sound: bytes, rng: random.Random) -> bytes:
    """Some bytes of one page."""
    broken = bytearray(sound)
    page = rng.randrange(len(sound) // _PAGE) * _PAGE
    for _ in range(rng.choice([1, 1, 4, 16])):
        at = page + rng.randrange(_HEADER if page == 0 else 0, _PAGE)
        broken[at] ^= rng.randrange(1, 256)
    return bytes(broken)


def _scatter(sound: bytes, rng: random.Random) -> bytes:
    """A byte in a hundred places."""
    broken = bytearray(sound)
    for _ in range(100):
        broken[rng.randrange(_HEADER, len(sound))] = rng.randrange(256)
    return bytes(broken)


def _no_text(sound: bytes, rng: random.Random) -> bytes:
    """Letters that are not UTF-8 any more, where letters are."""
    letters = [at for at in range(_HEADER, len(sound)) if 97 <= sound[at] <= 122]
    broken = bytearray(sound)
    for at in rng.sample(letters, min(len(letters), rng.choice([1, 3, 30]))):
        broken[at] = 0xFF
    return bytes(broken)


def _other_text(sound: bytes, rng: random.Random) -> bytes:
    """Letters and digits that are others: nothing that SQLite could notice."""
    signs = [at for at in range(_HEADER, len(sound)) if chr(sound[at]).isascii() and chr(sound[at]).isalnum()]
    broken = bytearray(sound)
    for at in rng.sample(signs, min(len(signs), rng.choice([1, 3, 30]))):
        broken[at] = rng.choice(b"aZ09;:n")
    return bytes(broken)


def _noise(sound: bytes, rng: random.Random) -> bytes:
    """Some hundred random bytes in a row."""
    length = rng.randrange(1, 600)
    at = rng.randrange(_HEADER, max(_HEADER + 1, len(sound) - length))
    return sound[:at] + rng.randbytes(length) + sound[at + length :]


def _zeros(sound: bytes, rng: random.Random) -> bytes:
    """A page of zeros, as a file system leaves it after a power cut."""
    page = rng.randrange(1, max(2, len(sound) // _PAGE)) * _PAGE
    return sound[:page] + bytes(len(sound[page : page + _PAGE])) + sound[page + _PAGE :]


def _swap(sound: bytes, rng: random.Random) -> bytes:
    """Two pages in each other's place."""
    first, second = sorted(rng.sample(range(1, len(sound) // _PAGE), 2))
    pages = [sound[at : at + _PAGE] for at in range(0, len(sound), _PAGE)]
    pages[first], pages[second] = pages[second], pages[first]
    return b"".join(pages)


def _cut(sound: bytes, rng: random.Random) -> bytes:
    """Only the beginning."""
    return sound[: rng.randrange(len(sound))]


_KINDS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "flip": _flip,
    "scatter": _scatter,
    "no text": _no_text,
    "other text": _other_text,
    "noise": _noise,
    "zeros": _zeros,
    "swap": _swap,
    "cut": _cut,
}
