"""Fingerprints name versions: 128 bits of each file, and their sum, the digest, of all files together.

A fingerprint is made of canonical JSON, so that it is the same on every machine and does not depend on the order in
which keys came. The sum makes a digest cheap to keep: it costs what changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

import orjson

from mmmeta.values import clean_value

DIGEST_MODULUS = 1 << 128
"""Digests are sums modulo this. Changing it changes every digest."""


def fingerprint(values: Mapping[str, Any]) -> bytes:
    """128 bits that name one version of a file's kept metadata.

    BLAKE2b over canonical JSON: keys sorted, no spaces, integers and floats told apart.

    Raises:
        ValueNotSupportedError: lists nested too deeply.
    """
    try:
        canonical = orjson.dumps(values, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        # Either an integer over 64 bits, or lists too deep for orjson, which the other side could not read back.
        for key, value in values.items():
            clean_value(key, value)
        canonical = json.dumps(values, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    return blake2b(canonical, digest_size=16).digest()


def deleted_fingerprint(alive: bytes) -> bytes:
    """The fingerprint of a version once it is marked deleted; made from its fingerprint while it was alive."""
    return blake2b(alive, digest_size=16, person=b"deleted").digest()


def digest_sum(fingerprints: Iterable[bytes]) -> int:
    """The sum of fingerprints modulo 2^128: what a digest adds and takes away."""
    return sum(int.from_bytes(part, "big") for part in fingerprints) % DIGEST_MODULUS


def digest_bytes(number: int) -> bytes:
    """A digest as the 16 bytes that the databases keep."""
    return (number % DIGEST_MODULUS).to_bytes(16, "big")
