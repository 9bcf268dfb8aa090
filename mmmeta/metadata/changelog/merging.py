"""Which segments become one when the next is written. Pure: numbers in, a number out.

Segments are merged as they age, as in a log-structured store: two dozen of about the same number of rows become one, so that there
are no more for each power of ten. Everything becomes one where what came since outgrows it.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmmeta.metadata.changelog.head import Segment

FAN = 24
"""Segments of one power of ten that are merged. Fewer make rows move again more often, more make head.json longer."""


def keep(segments: Sequence[Segment], rows: int, size: int) -> int:
    """How many of the oldest segments stay as they are; the others become one with the rows to come.

    Args:
        segments: the oldest first.
        rows: how many rows come.
        size: bytes of meta.db.
    """
    if not segments:
        return 0
    base, later = segments[0], segments[1:]
    since = sum(segment.rows for segment in later) + rows
    since_bytes = sum(segment.bytes for segment in later)
    together = base.bytes + since_bytes
    # Never after little has come: then the beginning by itself is that large, and would be written each time.
    if since >= 4 * base.rows or (since >= base.rows and together * 2 > size):
        return 0
    if together * 10 > size * 9 and since_bytes * 4 > base.bytes:
        return 0
    kept = len(segments)
    while True:
        fewer = _once(segments[:kept], rows)
        if fewer == kept:
            return kept
        rows += sum(segment.rows for segment in segments[fewer:kept])
        kept = fewer


def _once(segments: Sequence[Segment], rows: int) -> int:
    """How many stay after one look; the oldest one always does."""
    tiers = [_tier(segment.rows) for segment in segments[1:]] + [_tier(rows)]
    for tier in sorted(set(tiers)):
        # The newest of no higher a power.
        start = next((at + 1 for at in range(len(tiers) - 1, -1, -1) if tiers[at] > tier), 0)
        if tiers[start:].count(tier) >= FAN:
            return 1 + start
        # Larger ones between them keep them apart; for ever they shall not.
        if tiers.count(tier) >= 2 * FAN:
            return 1 + tiers.index(tier)
    return len(segments)


def _tier(rows: int) -> int:
    """How many digits a number of rows has."""
    return len(str(rows)) if rows else 0
