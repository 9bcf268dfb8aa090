"""``partitions`` of a job as Dagster's: the definition, which files belong to a partition, which files a run is for.

A partition is a part of a job's files that a person can ask for. It changes nothing about the job: the ledger counts each
file once, so a backfill does what is due in its partitions and no more, and the import goes on doing all that is due.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, time
from typing import Any

import dagster as dg

from mmmeta import Metadir
from mmmeta.clock import moment
from mmmeta.errors import UnknownKeyError, near_misses
from mmmeta.project import JobConfig, MetadirConfig
from mmmeta.project.dagster.partitions import RECOMMENDED, PartitionsConfig

NONE, EMPTY = "(none)", "(empty)"
"""The partitions of files without the key, and of those where its value is an empty text."""

LONGEST = 200
"""Letters of a partition key; the rest of a longer value becomes a digest, so that two of them stay two."""

AT_ONCE = 1_000
"""Partitions of a coarse key that one run of a backfill is for."""

_REFUSED = re.compile(r"[\x00-\x20\x7f-\xa0,|\[\]]+|\.{3,}")
"""What Dagster refuses in some keys (control characters, ``...``, ``|``, brackets), or takes for two keys (a comma)."""


def partitions_def(metadir: MetadirConfig, job: JobConfig) -> dg.PartitionsDefinition[Any] | None:
    """Dagster's definition of a job's partitions; None for a job without."""
    if job.partitions is None:
        return None
    if job.partitions.every is None:
        return dg.DynamicPartitionsDefinition(name=dynamic_name(metadir.name, job.name, job.partitions))
    return windows(job.partitions)


def dynamic_name(metadir: str, job: str, partitions: PartitionsConfig) -> str:
    """The name under which Dagster keeps the partitions of a coarse key: ``archive/load_all/publisher:name``.

    The key is in it, so that another one begins with none.
    """
    return f"{metadir}/{job}/{partitions.by}"


def ever(name: str) -> str:
    """Where Dagster keeps all partitions of a name that were ever there: what is here only was deleted by a person."""
    return f"{name} (ever)"


def windows(partitions: PartitionsConfig) -> dg.TimeWindowPartitionsDefinition:
    """Dagster's definition of windows of time."""
    # The window that is not over yet is one, too: what comes into it later is due like anything else.
    common: dict[str, Any] = {
        "start_date": datetime.combine(partitions.first, time()),
        "timezone": partitions.zone,
        "end_offset": 1,
    }
    if partitions.every == "hour":
        return dg.HourlyPartitionsDefinition(**common)
    if partitions.every == "week":
        return dg.WeeklyPartitionsDefinition(day_offset=1, **common)
    return (dg.MonthlyPartitionsDefinition if partitions.every == "month" else dg.DailyPartitionsDefinition)(**common)


def asked_for(context: dg.AssetExecutionContext, job: JobConfig) -> Sequence[str]:
    """The partitions that a run is for; none for a run of all that is due."""
    if job.partitions is None or not (context.has_partition_key or context.has_partition_key_range):
        return []
    return list(context.partition_keys)


def files_of(keys: Sequence[str], partitions: PartitionsConfig, metadir: Metadir) -> Mapping[str, Any]:
    """The filter of the files that belong to partitions, which are one window after the other where they are windows.

    Raises:
        UnknownKeyError: no file has the key, so that none could ever belong to one.
    """
    by = partitions.by
    if not metadir.files.has_column(by) and len(metadir.files):
        raise UnknownKeyError(
            f"partitions: no file has the key {by!r}.{near_misses(by, metadir.files.columns)} Mend `by`"
        )
    if partitions.every is not None:
        window = windows(partitions).time_window_for_partition_key
        first, last = window(keys[0]), window(keys[-1])
        return {"$all": [{by: {">=": first.start}}, {by: {"<": last.end}}]}
    wanted = set(keys)
    # Several values can belong to one partition; where there are too many to look at, the one that it is called after is
    # enough.
    values: list[Any] = [value for value in distinct(metadir, by, RECOMMENDED) if partition_of(value) in wanted]
    texts = {value for value in values if isinstance(value, str)}
    return {by: [*values, *sorted(wanted - texts - {NONE, EMPTY})]}


def backfill_policy(job: JobConfig) -> dg.BackfillPolicy | None:
    """A backfill of a month is one run, not one a day: files are claimed in batches, whatever they belong to. One over a
    coarse key is several runs, because each value is a variable of an SQL statement, which takes a limited number."""
    if job.partitions is None:
        return None
    return dg.BackfillPolicy.single_run() if job.partitions.every else dg.BackfillPolicy.multi_run(AT_ONCE)


def distinct(metadir: Metadir, key: str, limit: int, where: Mapping[str, Any] | None = None) -> Iterable[Any]:
    """The values that files have under a key, each once, ``limit`` at most."""
    if not metadir.files.has_column(key):
        return []
    filters: dict[str, Any] = {"$all": [dict(where)]} if where else {}
    return [found[key] for found in metadir.files.distinct(key, _limit=limit, **filters)]


def partition_of(value: object) -> str | None:
    """The partition of a value of a coarse key; None for what is no plain value.

    ``Ministry, Health`` and ``Ministry Health`` come out the same, and then are one partition.
    """
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        return None
    text = str(value)
    cleaned = _REFUSED.sub(" ", text).strip()
    if len(cleaned) > LONGEST:
        digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
        cleaned = f"{cleaned[: LONGEST - 9]}~{digest}"
    return cleaned or EMPTY


def spread(values: Iterable[tuple[Any, int]], partitions: PartitionsConfig) -> tuple[Counter[str], int]:
    """Partition → number of files, from pairs of a value and the number of files that have it; and how many belong to none."""
    counts: Counter[str] = Counter()
    outside = 0
    if partitions.every is None:
        for value, files in values:
            key = partition_of(value)
            if key is None:
                outside += files
            else:
                counts[key] += files
        return counts, outside
    definition = windows(partitions)
    moments = []
    for value, files in values:
        microseconds = moment(value)
        if microseconds is None:
            outside += files
        else:
            moments.append((microseconds / 1_000_000, files))
    begin = end = float("-inf")
    known: str | None = None
    for seconds, files in sorted(moments):
        if not begin <= seconds < end:  # Dagster is asked once a window, not once a file
            key = definition.get_partition_key_for_timestamp(seconds)
            window = definition.time_window_for_partition_key(key)
            begin, end = window.start.timestamp(), window.end.timestamp()
            known = key if definition.has_partition_key(key) else None
        if known is None:
            outside += files
        else:
            counts[known] += files
    return counts, outside
