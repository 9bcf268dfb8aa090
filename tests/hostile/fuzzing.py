"""Draws what a remote might give in a file's place: sound content with some of its bytes changed, and what is sharp."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hypothesis import strategies as st
from metadirs import one_clear_error

from mmmeta.errors import InvalidFileError

LONGEST = 20.0
"""Seconds that anything may take here, on a machine that is busy with other things."""

SHARP = [
    b"",
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\r",
    b"\n",
    b'"',
    b"{",
    b"}",
    b"[" * 3_000,
    b"9" * 5_000,
    b"1e999",
    b"-",
    b"\xed\xa0\x80",
    b"\x1b[2J",
    "\u202e\u2028".encode(),
]


def mutated(*sound: bytes, sharp: Sequence[bytes] = SHARP) -> st.SearchStrategy[bytes]:
    """One of the sound contents with up to six places where bytes are others, more, gone, or there twice."""
    bits = st.one_of(st.sampled_from(sharp), st.binary(max_size=6))
    edits = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), bits, st.booleans()), max_size=6)
    return st.builds(_edited, st.sampled_from(sound), edits)


def _edited(content: bytes, edits: list[tuple[float, int, bytes, bool]]) -> bytes:
    for where, gone, new, twice in edits:
        at = int(where * len(content))
        content = content[:at] + new + (content[at : at + gone] if twice else b"") + content[at + gone * (not twice) :]
    return content


@contextmanager
def one_clear_error_in_time() -> Iterator[None]:
    """Nothing is raised, or one of mmmeta's errors, in one line; and it does not go on for ever. Of a file that people write
    all that is wrong is said, a line each."""
    started = time.monotonic()
    try:
        with one_clear_error():
            yield
    except AssertionError as caught:
        if not isinstance(caught.__context__, InvalidFileError):
            raise
        lines = str(caught.__context__).split("\n")
        if len(lines) > 20 or not all(line.isprintable() and len(line) < 1_200 for line in lines):
            raise
    assert time.monotonic() - started < LONGEST
