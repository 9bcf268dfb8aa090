"""The remote's publications as materializations of ``metadata_db``, which nobody materializes here.

Each is told once, with itself as data version, so that one's own automation conditions see real changes only: by the
sensor when it sees it, or by the run that merged it before the sensor looked. ``state_db`` records which one it is made of.
"""

from __future__ import annotations

import dagster as dg

from mmmeta.errors import StoreAccessError
from mmmeta.metadata.publication import REMOTE_REVISION, REMOTE_UPDATED
from mmmeta.project import MetadirConfig
from mmmeta.store.store import Store
from mmmeta_dagster import keys
from mmmeta_dagster.assets.versions import tags_of_last
from mmmeta_dagster.files_seen import layout_of, metadata_size
from mmmeta_dagster.shown import reporting
from mmmeta_dagster.syncing import pulls
from mmmeta_dagster.translator import DagsterMmmetaTranslator, MetadirAsset, key_of


def is_told(
    instance: dg.DagsterInstance, metadir: MetadirConfig, translator: DagsterMmmetaTranslator, published: str
) -> bool:
    """Whether a publication (the store's raw text) is the one that ``metadata_db`` was materialized with last."""
    return _is_of(instance, _key(metadir, translator), published)


def _is_of(instance: dg.DagsterInstance, key: dg.AssetKey, published: str) -> bool:
    return tags_of_last(instance, key).get(keys.TAG_DATA_VERSION) == data_version_of(published)


def materialization(
    metadir: MetadirConfig, translator: DagsterMmmetaTranslator, published: str, name: str = keys.METADATA_DB
) -> dg.AssetMaterialization | None:
    """That the metadata db is of this publication, or that the copy was brought up to it; None where a sync brings another one at
    this moment."""
    layout = layout_of(metadir)
    store = Store(layout)
    try:
        size = metadata_size(layout)
        moment, revision = store.moment(REMOTE_UPDATED), store.get(REMOTE_REVISION)
        if moment is None or store.raw(REMOTE_UPDATED) != published:
            return None
    except (OSError, StoreAccessError):
        return None
    return dg.AssetMaterialization(
        _key(metadir, translator, name),
        description=_FOUND[name],
        metadata=reporting.of_publication(moment, revision if type(revision) is int else None, size),
        tags={keys.TAG_DATA_VERSION: data_version_of(published)},
    )


def tell_of_merged(
    instance: dg.DagsterInstance, metadir: MetadirConfig, translator: DagsterMmmetaTranslator, merged: str | None
) -> dict[str, str]:
    """Tell of the publication that was just merged, unless the sensor has; gives the tags of ``state_db`` that name it.

    Dagster itself takes down what was told before the run began, and would call the state db out of date by a publication
    that came meanwhile and is merged.
    """
    if merged is None:
        return {}
    tags = {}
    for name in upstream_of_update(metadir):
        key = _key(metadir, translator, name)
        told = _is_of(instance, key, merged)
        if not told and not metadir.generate:
            event = materialization(metadir, translator, merged, name)
            if event is not None:
                instance.report_runless_asset_event(event)
                told = True
        if told:
            tags[f"{keys.TAG_INPUT_DATA_VERSION}/{key.to_user_string()}"] = data_version_of(merged)
    return tags


def upstream_of_update(metadir: MetadirConfig) -> list[str]:
    """What a merged publication is told of besides the state db itself: the assets that it is made of."""
    return [keys.METADATA_DB, *([keys.SYNCED] if pulls(metadir) else [])]


def data_version_of(published: str) -> str:
    """The data version of a publication."""
    return published.strip()


_FOUND = {
    keys.METADATA_DB: "The remote has published; this is what was found here.",
    keys.SYNCED: "Pulled outside of Dagster; this is what was found here.",
}


def _key(metadir: MetadirConfig, translator: DagsterMmmetaTranslator, name: str = keys.METADATA_DB) -> dg.AssetKey:
    return key_of(translator, MetadirAsset(metadir, name))
