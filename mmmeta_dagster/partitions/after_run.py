"""What Dagster is told of partitions after a run: new ones of a coarse key, those that an import has touched, and those in
which there is nothing to do.

Dagster's conditions such as ``eager`` wait as long as a single partition upstream was never materialized.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import dagster as dg

from mmmeta import Metadir
from mmmeta.chunks import in_chunks
from mmmeta.jobs.job import Job
from mmmeta.masking import visible
from mmmeta.project import JobConfig, MetadirConfig
from mmmeta_dagster import keys
from mmmeta_dagster.partitions.definition import (
    asked_for,
    distinct,
    dynamic_name,
    ever,
    partition_of,
    spread,
    windows,
)

CHUNK = 5_000
"""Partitions added at once: each is a variable of one SQL statement, and a database takes a limited number."""

MARKED = 2_000
"""Partitions that one import marks as materialized; each is an event of 15 to 20 ms that is kept for ever."""


def add_new_partitions(
    context: dg.AssetExecutionContext, metadir: MetadirConfig, m: Metadir, *, news: bool
) -> dict[str, Any]:
    """Tell Dagster the values of coarse keys that it does not know yet; metadata where there are more than it may know.

    Args:
        news: whether files came or changed; without, only a job that has no partition at all is looked at.
    """
    notes: list[str] = []
    for job in metadir.jobs.values():
        if job.partitions is None or job.partitions.every is not None:
            continue
        name = dynamic_name(metadir.name, job.name, job.partitions)
        there = context.instance.get_dynamic_partitions(name)
        if not news and (there or context.instance.get_dynamic_partitions(ever(name))):
            continue
        # One more than may be there, to see whether there are more.
        values = distinct(m, job.partitions.by, max(job.partitions.limit, len(there)) + 1, job.where)
        notes += _add(context, metadir, job, filter(None, map(partition_of, values)))
    return {} if not notes else {keys.META_PARTITIONS_LEFT_OUT: visible(" ".join(notes))}


def _add(
    context: dg.AssetExecutionContext, metadir: MetadirConfig, job: JobConfig, wanted: Iterable[str]
) -> Iterator[str]:
    """Add what is new of these partitions; a sentence if some would be too many."""
    assert job.partitions is not None
    name, limit = dynamic_name(metadir.name, job.name, job.partitions), job.partitions.limit
    there = set(context.instance.get_dynamic_partitions(name))
    known = set(context.instance.get_dynamic_partitions(ever(name)))  # what a person has deleted stays so
    new = [key for key in dict.fromkeys(wanted) if key not in there | known]
    added = new[: max(0, limit - len(there))]
    for chunk in in_chunks([key for key in (*sorted(there), *added) if key not in known], CHUNK):
        _add_chunk(context.instance, ever(name), chunk)
    for chunk in in_chunks(added, CHUNK):
        _add_chunk(context.instance, name, chunk)
    if added:
        context.log.info(f"{job.name}: {len(added):,} new partitions by {job.partitions.by}")
    if len(added) < len(new):
        reason = (
            f"{job.name}: {job.partitions.by} has more values than the {limit:,} that may have a partition (at_most), "
            f"such as {new[len(added)]!r}. Their files are imported like all others; to ask for them by themselves, "
            "raise at_most, choose a coarser key, or delete partitions that nobody needs any more"
        )
        context.log.warning(reason)
        yield reason


def _add_chunk(instance: dg.DagsterInstance, name: str, chunk: list[str]) -> None:
    try:
        instance.add_dynamic_partitions(name, chunk)
    # Whatever the database says when another run has added one of them since they were looked at.
    except Exception:
        there = set(instance.get_dynamic_partitions(name))
        missing = [key for key in chunk if key not in there]
        if len(missing) == len(chunk):
            raise
        instance.add_dynamic_partitions(name, missing)


def tell_of_partitions(
    context: dg.AssetExecutionContext, metadir: MetadirConfig, job: Job, *, through: bool, by: str | int
) -> dict[str, Any]:
    """Say which partitions a run has done something in, so that the UI shows it: metadata for the run's own event.

    A run for partitions is Dagster's to mark; several of them get their own numbers. A run for all that is due marks
    those that it touched.

    Args:
        by: whose work it is, as for ``Job.done_by_value``.
        through: whether the job has nothing left to try: then all others are marked as well that never were, such as the
            windows that have no files.
    """
    config = job.config
    if config.partitions is None:
        return {}
    counts, outside = spread(job.done_by_value(config.partitions.by, by), config.partitions)
    asked = asked_for(context, config)
    if asked:
        for key in asked if len(asked) > 1 else ():
            context.add_asset_metadata({keys.META_DONE_IN_PARTITION: counts[key]}, partition_key=key)
        return {keys.META_PARTITIONS: asked[0] if len(asked) == 1 else f"{asked[0]} to {asked[-1]}"}
    if config.partitions.every is None:
        for _ in _add(context, metadir, config, list(counts)):
            pass  # said in the log; the state_db asset says it in its metadata
        there = _there(context, metadir, config)
        outside += sum(counts.pop(key) for key in set(counts) - set(there))
    touched = sorted(counts, reverse=config.partitions.every is not None)  # the latest windows matter most
    empty: list[str] = []
    if through:
        marked = {*counts, *context.instance.get_materialized_partitions(context.asset_key)}
        empty = [key for key in reversed(_there(context, metadir, config)) if key not in marked]
    for key in touched[:MARKED]:
        _mark(context, key, counts[key], "A run for all that was due did files of this partition.")
    for key in empty[: max(0, MARKED - len(touched))]:
        _mark(context, key, 0, "A run for all that was due left nothing to do in this partition.")
    said = f"{len(counts):,} touched"
    if len(touched) + len(empty) > MARKED:
        said += (
            f", {MARKED:,} of {len(touched) + len(empty):,} marked as materialized; later runs mark the others, or a backfill "
            "of them, which finds nothing to do"
        )
        context.log.warning(f"{config.name}: partitions: {said}")
    return {keys.META_PARTITIONS: said, keys.META_OUTSIDE: outside}


def _there(context: dg.AssetExecutionContext, metadir: MetadirConfig, config: JobConfig) -> Sequence[str]:
    """The partitions that Dagster has of a job, windows in their order."""
    assert config.partitions is not None
    if config.partitions.every is None:
        name = dynamic_name(metadir.name, config.name, config.partitions)
        return list(context.instance.get_dynamic_partitions(name))
    return list(windows(config.partitions).get_partition_keys())


def _mark(context: dg.AssetExecutionContext, partition: str, done: int, why: str) -> None:
    code = next(spec.code_version for spec in context.assets_def.specs)
    context.log_event(
        dg.AssetMaterialization(
            context.asset_key,
            description=why,
            partition=partition,
            metadata={keys.META_DONE_IN_PARTITION: done},
            # As Dagster's own events have them, so that conditions on versions see it, and a run for this partition that
            # finds nothing new.
            tags={keys.TAG_DATA_VERSION: context.run.run_id, **({keys.TAG_CODE_VERSION: code} if code else {})},
        )
    )
