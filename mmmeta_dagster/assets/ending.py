"""How a step ends: with a materialization, or, where it brought nothing new, with an observation that wakes nobody.

Dagster's conditions such as ``eager`` fire at every materialization, whatever its data version is. So there is none where
nothing hangs on this step in its run (steps that do would be skipped with it), and what it would say was said before: the
page of an asset shows the numbers of its last materialization, and of an observation only where there is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg

from mmmeta.project import MetadirConfig
from mmmeta_dagster import keys
from mmmeta_dagster.assets.versions import shows_last, was_said
from mmmeta_dagster.checks.build import tell_checks

Ending = Iterator[dg.MaterializeResult[None]]
"""What a step returns: an iterator, because Dagster takes a returned None for an output; empty after an observation."""


def brings_news(
    context: dg.AssetExecutionContext,
    metadir: MetadirConfig,
    name: str,
    version: str | None,
    now: Mapping[str, Any],
    partitions: Sequence[str] = (),
) -> bool:
    """Whether a step has to end with a materialization.

    Args:
        name: of the asset among the metadir's.
        version: data version of what there is now; None where that cannot be told: always a materialization.
        now: those of its metadata that say how things are, and not what this run did; None for what there is not.
        partitions: for which the run is. A backfill takes one without a materialization for failed.
    """
    if version is None or waiting_for(context) - {keys.checks_op(metadir.name, name)}:
        return True
    if not partitions and (context.has_partition_key or context.has_partition_key_range):
        return True  # Dagster's own partitions of this asset: a backfill waits for each
    if partitions:
        (one, *others) = partitions
        return bool(others) or keys.TAG_BACKFILL in context.run.tags or not was_said(context, version, one)
    return not (was_said(context, version) and shows_last(context, now))


def ending(
    context: dg.AssetExecutionContext,
    metadir: MetadirConfig,
    name: str,
    metadata: Mapping[str, Any],
    *,
    version: str | None,
    news: bool,
    tags: Mapping[str, str] | None = None,
    partition: str | None = None,
) -> Ending:
    """What the step of an asset returns.

    Args:
        name: of the asset among the metadir's.
        version: its data version, as for ``brings_news``.
        news: what ``brings_news`` found.
        tags: of the materialization.
        partition: for which the run is, where it is for one.
    """
    if news:
        data_version = None if version is None else dg.DataVersion(version)
        return _yielded(dg.MaterializeResult(metadata=metadata, data_version=data_version, tags=tags))
    context.log_event(dg.AssetObservation(context.asset_key, partition=partition, metadata=metadata))
    if keys.checks_op(metadir.name, name) in waiting_for(context):
        tell_checks(context, metadir, name)
    return _yielded()


def _yielded(*results: dg.MaterializeResult[None]) -> Ending:
    yield from results


@contextmanager
def checks_told(context: dg.AssetExecutionContext, metadir: MetadirConfig, name: str) -> Iterator[None]:
    """A block in which a step may fail: its checks, whose own step will not come then, are told nevertheless."""
    try:
        yield
    except dg.Failure:
        if keys.checks_op(metadir.name, name) in waiting_for(context):
            tell_checks(context, metadir, name)
        raise


def waiting_for(context: dg.AssetExecutionContext) -> set[str]:
    """The ops of this run that come after this step and need what it gives."""
    op = context.op_def.name
    return {
        node.alias or node.name
        for node, inputs in context.job_def.dependencies.items()
        if any(one.node == op for given in inputs.values() for one in given.get_node_dependencies())
    }
