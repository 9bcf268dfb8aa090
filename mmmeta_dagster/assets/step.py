"""What every step that materializes an asset has in common: how Dagster runs it, and what it does around its work.

It opens the metadir, gives signs of life, logs progress, and says in one line what went wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg

from mmmeta import Metadir
from mmmeta.errors import (
    ConfigError,
    DigestMismatchError,
    FormatError,
    MassDeletionError,
    MetadataDbError,
    MetadirNotFoundError,
    MmmetaError,
    StaleMetadataError,
)
from mmmeta.project import MetadirConfig
from mmmeta_dagster import keys
from mmmeta_dagster.files_seen import layout_of, mark_of_files, why_not_there
from mmmeta_dagster.heartbeat import beating
from mmmeta_dagster.resources import MetadirResource
from mmmeta_dagster.translator import DagsterMmmetaTranslator, MetadirAsset, spec_of

NOT_WHOLE = (
    MetadirNotFoundError,
    MetadataDbError,
    FormatError,
    StaleMetadataError,
    DigestMismatchError,
    MassDeletionError,
    ConfigError,
)
"""What is wrong with the metadir itself: no further attempt can help until it changes, or until a person decides."""

BETWEEN_LINES = 10.0
"""Seconds between two lines of progress in the log of a run; each line costs about 20 ms and stays in the database."""


def step(
    asset: MetadirAsset, translator: DagsterMmmetaTranslator, spec: dg.AssetSpec | None = None, **more: Any
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Decorator of a function that materializes one asset of a metadir.

    Args:
        spec: what Dagster is told of the asset; the translator's unless given.
        more: what else ``dagster.multi_asset`` takes, in place of what the translator says.
    """
    spec = spec_of(translator, asset) if spec is None else spec
    op = translator.get_op_spec(asset)
    policy = op.backfill_policy
    if policy is None and spec.partitions_def is not None:
        policy = (
            dg.BackfillPolicy.single_run()
        )  # partitions that say nothing about files: each run does all that is due
    return dg.multi_asset(
        **{
            "name": op.name,
            # No materialization is needed where nothing is new (see ``ending``).
            "specs": [spec.replace_attributes(skippable=True)],
            "required_resource_keys": {keys.resource(asset.metadir.name)},
            "pool": op.pool,
            "description": op.description,
            "backfill_policy": policy,
            **more,
            "op_tags": {**(op.tags or {}), **(more.get("op_tags") or {})},
        }
    )


@contextmanager
def opened(context: dg.AssetExecutionContext, config: MetadirConfig, *, worker: bool = False) -> Iterator[Metadir]:
    """The metadir of the resource with the jobs of the project file, for one step; for a worker nothing needs to be here but
    the project file, where machines share the state.

    Raises:
        Failure: with the message of the ``MmmetaError`` that ended the block. Dagster does not retry it: the sensor
            does, and knows when that makes sense.
    """
    resource: MetadirResource = getattr(context.resources, keys.resource(config.name))
    seen = ""
    try:
        with resource.open(name=config.name, jobs=config.jobs, worker=worker) as metadir:
            metadir.ignore_news()  # the sensor sees them
            seen = mark_of_files(metadir.layout)
            with beating(metadir.layout, context.run.run_id):
                yield metadir
    except NOT_WHOLE as error:
        missing = None if config.generate else why_not_there(layout_of(config))
        reason = str(error) if missing is None else f"There is no metadata db: {missing}"
        tags = {keys.TAG_NOT_WHOLE: reason[: keys.TAG_LENGTH], keys.TAG_SEEN: seen}
        context.instance.add_run_tags(context.run.run_id, tags)
        raise failure(reason) from None
    except MmmetaError as error:
        raise failure(str(error)) from None


def failure(description: str, metadata: Mapping[str, Any] | None = None) -> dg.Failure:
    """A failure that says in one line what is wrong."""
    return dg.Failure(description=" ".join(description.split()), metadata=metadata, allow_retries=False)


class LoggedProgress:
    """Progress as lines in the log of the run, one in ten seconds at most.

    Attributes:
        done: the number that was told last, also where it got no line.
    """

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        self.done: int = 0
        self._context = context
        self._last = time.monotonic()

    def __call__(self, what: str, done: int, total: int | None) -> None:
        self.done = done
        if time.monotonic() - self._last >= BETWEEN_LINES:
            self._last = time.monotonic()
            # More than there was to do at first: files became due meanwhile.
            of = "" if total is None or total < done else f" of {total:,}"
            self._context.log.info(f"{what}: {done:,}{of}")
