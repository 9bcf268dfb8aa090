"""Fingerprints of versions, and digests as their sums."""

from __future__ import annotations

import pytest

from mmmeta.errors import ValueNotSupportedError
from mmmeta.fingerprints import deleted_fingerprint, digest_bytes, digest_sum, fingerprint
from mmmeta.values import parse_json


def test_fingerprints_tell_types_apart_and_not_the_order() -> None:
    """1, 1.0, true and "1" are four versions; the order of keys is none."""
    versions = [{"a": 1}, {"a": 1.0}, {"a": True}, {"a": "1"}, {"a": None}, {}, {"a": [1]}, {"a": 2**70}]
    assert len({fingerprint(version) for version in versions}) == len(versions)
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert deleted_fingerprint(fingerprint({})) != fingerprint({})


def test_digests_wrap_around() -> None:
    """A sum modulo 2^128, in 16 bytes."""
    top = b"\xff" * 16
    assert digest_bytes(digest_sum([top, top])) == (2**128 - 2).to_bytes(16, "big")
    assert digest_bytes(-1) == top


@pytest.mark.parametrize("depth", [300, 900])
def test_lists_nested_too_deeply_are_refused(depth: int) -> None:
    """They could be written but not read back everywhere."""
    with pytest.raises(ValueNotSupportedError, match="nested"):
        fingerprint(parse_json(b'{"a":' + b"[" * depth + b"]" * depth + b"}").values)
