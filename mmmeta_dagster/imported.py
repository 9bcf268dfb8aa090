"""Which jobs of a metadir its import runs, and its sensor watches: all but those that a condition of Dagster's runs."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from mmmeta.project import MetadirConfig
from mmmeta_dagster.translator import DEFAULT, DagsterMmmetaTranslator, MetadirAsset, key_of

Assets = Iterable[dg.AssetsDefinition | dg.AssetSpec]


def imported(
    metadir: MetadirConfig, *, translator: DagsterMmmetaTranslator = DEFAULT, assets: Assets = ()
) -> MetadirConfig:
    """The metadir without its jobs that have an automation condition.

    A condition stands in place of sensor and import: "at three in the morning" would mean nothing if the next publication
    ran the job as well. ``assets`` tell of conditions that came from ``@mmmeta_asset`` or a translator.
    """
    conditioned = {spec.key for spec in specs(assets) if spec.automation_condition is not None}
    jobs = {
        name: job
        for name, job in metadir.jobs.items()
        if job.automation is None and key_of(translator, MetadirAsset(metadir, name, job)) not in conditioned
    }
    return metadir.model_copy(update={"jobs": jobs})


def specs(assets: Assets) -> list[dg.AssetSpec]:
    """The specs of assets."""
    return [spec for asset in assets for spec in ([asset] if isinstance(asset, dg.AssetSpec) else asset.specs)]
