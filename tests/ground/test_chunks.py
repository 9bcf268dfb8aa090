"""Long lists a part at a time."""

from __future__ import annotations

import pytest

from mmmeta.chunks import in_chunks


@pytest.mark.parametrize(("count", "lengths"), [(0, []), (1, [1]), (2, [2]), (3, [2, 1]), (4, [2, 2])], ids=str)
def test_chunks_hold_everything_in_order_and_none_is_empty(count: int, lengths: list[int]) -> None:
    """Whatever gives the values."""
    chunks = list(in_chunks(iter(range(count)), 2))
    assert [len(chunk) for chunk in chunks] == lengths
    assert [value for chunk in chunks for value in chunk] == list(range(count))
