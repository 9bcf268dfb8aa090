"""Data versions of the assets as Dagster keeps them: in the tags of each asset's last materialization."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from mmmeta_dagster import keys


def version_before(context: dg.AssetExecutionContext) -> str | None:
    """The data version that the asset was materialized with last."""
    return tags_of_last(context.instance, context.asset_key).get(keys.TAG_DATA_VERSION)


def was_said(context: dg.AssetExecutionContext, version: str) -> bool:
    """Whether the last materialization was of this version, by this code, and made of what is upstream now.

    If not, the asset graph would call the asset "Unsynced" for as long as there is no other.
    """
    said = tags_of_last(context.instance, context.asset_key)
    code = next(spec.code_version for spec in context.assets_def.specs)
    if said.get(keys.TAG_DATA_VERSION) != version or code not in (None, said.get(keys.TAG_CODE_VERSION)):
        return False
    upstream = f"{keys.TAG_INPUT_DATA_VERSION}/"
    return all(
        tags_of_last(context.instance, dg.AssetKey.from_user_string(tag.removeprefix(upstream))).get(
            keys.TAG_DATA_VERSION
        )
        == value
        for tag, value in said.items()
        if tag.startswith(upstream)
    )


def tags_of_last(instance: dg.DagsterInstance, key: dg.AssetKey) -> Mapping[str, str]:
    """The tags of an asset's last materialization; none where there was none."""
    event = instance.get_latest_materialization_event(key)
    found = None if event is None else event.asset_materialization
    return {} if found is None else found.tags or {}
