"""What the assets' last materializations said, as Dagster keeps it: data versions in tags, numbers in metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from mmmeta_dagster import keys


def version_before(context: dg.AssetExecutionContext, partition: str | None = None) -> str | None:
    """The data version that the asset, or this partition of it, was materialized with last."""
    return _tags(_last_of(context, partition)).get(keys.TAG_DATA_VERSION)


def was_said(context: dg.AssetExecutionContext, version: str, partition: str | None = None) -> bool:
    """Whether the last materialization, of the asset or of this partition, was of this version, by this code, and made of what is upstream now.

    If not, the asset graph would call the asset "Unsynced" for as long as there is no other.
    """
    said = _tags(_last_of(context, partition))
    code = next(spec.code_version for spec in context.assets_def.specs)
    if said.get(keys.TAG_DATA_VERSION) != version or code not in (None, said.get(keys.TAG_CODE_VERSION)):
        return False
    upstream = f"{keys.TAG_INPUT_DATA_VERSION}/"
    return all(
        tags_of_last(context.instance, dg.AssetKey.from_user_string(tag.removeprefix(upstream))).get(
            keys.TAG_DATA_VERSION, keys.NO_DATA_VERSION
        )
        == value
        for tag, value in said.items()
        if tag.startswith(upstream)
    )


def shows_last(context: dg.AssetExecutionContext, now: Mapping[str, Any]) -> bool:
    """Whether the last materialization has this metadata: nothing else under these names, and nothing that is None here."""
    last = _last_of(context)
    said = {} if last is None else last.metadata
    wanted = {name: value for name, value in now.items() if value is not None}
    shown = dg.AssetMaterialization(context.asset_key, metadata=wanted).metadata  # as Dagster writes it down
    return all(said.get(name) == shown.get(name) for name in now)


def tags_of_last(instance: dg.DagsterInstance, key: dg.AssetKey) -> Mapping[str, str]:
    """The tags of an asset's last materialization; none where there was none."""
    event = instance.get_latest_materialization_event(key)
    return _tags(None if event is None else event.asset_materialization)


def _last_of(context: dg.AssetExecutionContext, partition: str | None = None) -> dg.AssetMaterialization | None:
    if partition is not None:
        wanted = dg.AssetRecordsFilter(context.asset_key, asset_partitions=[partition])
        records = context.instance.fetch_materializations(wanted, limit=1).records
        return records[0].asset_materialization if records else None
    event = context.instance.get_latest_materialization_event(context.asset_key)
    return None if event is None else event.asset_materialization


def _tags(said: dg.AssetMaterialization | None) -> Mapping[str, str]:
    return {} if said is None else said.tags or {}
