"""How a metadir and its jobs look in Dagster: asset keys, groups, descriptions, kinds, tags, owners, metadata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster.components.resolved.core_models import OpSpec

from mmmeta.filters import All, describe, format_duration
from mmmeta.masking import without_password
from mmmeta.project import JobConfig, MetadirConfig
from mmmeta_dagster import keys
from mmmeta_dagster.automation import automation_condition
from mmmeta_dagster.freshness import freshness_policy
from mmmeta_dagster.partitions.definition import backfill_policy, partitions_def
from mmmeta_dagster.shown.markdown import breakable, bullets
from mmmeta_dagster.syncing import pulls, source_of, updated


@dataclass(frozen=True)
class MetadirAsset:
    """What an asset stands for.

    Attributes:
        metadir: the metadir as the project file defines it.
        name: ``metadata_db``, ``synced``, ``state_db``, or the job's name.
        job: the job; None for the others.
    """

    metadir: MetadirConfig
    name: str
    job: JobConfig | None = None


class DagsterMmmetaTranslator:
    """Says how a metadir and its jobs look in Dagster; override what should look otherwise.

    Example:
        >>> class Ours(DagsterMmmetaTranslator):
        ...     def get_asset_spec(self, asset: MetadirAsset) -> dg.AssetSpec:
        ...         return super().get_asset_spec(asset).replace_attributes(group_name="documents")
        >>> Ours().get_asset_spec(MetadirAsset(MetadirConfig(name="archive", path="/data"), "state_db")).group_name
        'documents'
    """

    def get_asset_spec(self, asset: MetadirAsset) -> dg.AssetSpec:
        """All that Dagster is told of an asset. What a job has in the project file (``key``, ``group``, ``kinds``,
        ``tags``, ``owners``, ``automation``) is in it already."""
        if asset.job is not None:
            return _job_spec(asset.metadir, asset.job, self.get_asset_key(asset), self._state_db(asset))
        key = self.get_asset_key(asset)
        synced = [self.get_asset_key(MetadirAsset(asset.metadir, keys.SYNCED))] if pulls(asset.metadir) else []
        if asset.name == keys.SYNCED:
            return _synced_spec(asset.metadir, key)
        if asset.name == keys.STATE_DB:
            metadata_db = self.get_asset_key(MetadirAsset(asset.metadir, keys.METADATA_DB))
            spec = _database_spec(asset.metadir, key, [metadata_db, *synced], _STATE_DB)
            return spec.replace_attributes(freshness_policy=freshness_policy(asset.metadir))
        return _database_spec(asset.metadir, key, synced, _GENERATED if asset.metadir.generate else _ARRIVING)

    def get_asset_key(self, asset: MetadirAsset) -> dg.AssetKey:
        """``<metadir>/<name>``, unless the job has a ``key`` of its own. To move all assets override this, or
        replace the key in ``get_asset_spec``: what hangs on them follows either way."""
        if asset.job is not None and asset.job.key is not None:
            return dg.AssetKey.from_user_string(asset.job.key)
        return keys.asset_key(asset.metadir.name, asset.name)

    def get_op_spec(self, asset: MetadirAsset) -> OpSpec:
        """The step behind an asset: name, tags and description of its op, its pool, how a backfill becomes runs."""
        shared = asset.job is not None and asset.metadir.shards_of(asset.job) > 0
        return OpSpec(
            name=keys.op(asset.metadir.name, asset.name),
            # Steps that do not hang on each other run in this order: the databases first, whatever ``deps`` says.
            tags=None if asset.job is not None else {keys.TAG_PRIORITY: _FIRST[asset.name]},
            # SQLite takes one writer at a time: whoever runs many of these at once can limit them by this.
            pool=(keys.work_pool if shared else keys.pool)(asset.metadir.name),
            backfill_policy=None if asset.job is None else backfill_policy(asset.job),
        )

    def _state_db(self, asset: MetadirAsset) -> dg.AssetKey:
        return self.get_asset_key(MetadirAsset(asset.metadir, keys.STATE_DB))


def spec_of(translator: DagsterMmmetaTranslator, asset: MetadirAsset) -> dg.AssetSpec:
    """What everything is built of: the translator's spec, with dependencies that follow where it moved an asset."""
    spec = translator.get_asset_spec(asset)
    upstream = [keys.METADATA_DB, *updated(asset.metadir)]
    databases = [MetadirAsset(asset.metadir, name) for name in upstream if name != asset.name]
    moved = {translator.get_asset_key(one): translator.get_asset_spec(one).key for one in databases}
    if all(old == new for old, new in moved.items()):
        return spec
    deps = [
        dg.AssetDep(moved.get(dep.asset_key, dep.asset_key), partition_mapping=dep.partition_mapping)
        for dep in spec.deps
    ]
    return spec.replace_attributes(deps=deps)


def key_of(translator: DagsterMmmetaTranslator, asset: MetadirAsset) -> dg.AssetKey:
    """The key under which everything finds an asset: that of its spec."""
    return translator.get_asset_spec(asset).key


_FIRST = {keys.METADATA_DB: "3", keys.SYNCED: "2", keys.STATE_DB: "1"}

DEFAULT = DagsterMmmetaTranslator()
"""What everything is built with that is given no translator."""

_ARRIVING = (
    "The metadata of all files, one SQLite file. A server writes it, a sync brings it here; nothing on this side does. "
    "The sensor looks at the store beside it and asks for an import when it is new."
)
_GENERATED = (
    "The metadata of all files, one SQLite file, written here by `generate` from the metadata files. It adds and "
    "updates; what is merely no longer there is deleted only with the option `ensure`."
)
_STATE_DB = (
    "The metadata db merged with what is only known here: columns of one's own, and the ledger of what each job did "
    "with each file. An update never touches local state."
)


def _synced_spec(metadir: MetadirConfig, key: dg.AssetKey) -> dg.AssetSpec:
    source, kind = source_of(metadir.sync)
    return dg.AssetSpec(
        key,
        description=f"Brings the metadir here {source}: what is missing, proved as a whole, and nothing of `local/`. Runs "
        "that update begin with it.",
        group_name=metadir.name,
        kinds={kind},
        metadata={keys.META_PATH: dg.MetadataValue.path(str(metadir.path)), keys.META_REMOTE: source},
        freshness_policy=freshness_policy(metadir),
    )


def _database_spec(metadir: MetadirConfig, key: dg.AssetKey, deps: list[dg.AssetKey], description: str) -> dg.AssetSpec:
    place: dict[str, dg.MetadataValue] = {keys.META_PATH: dg.MetadataValue.path(str(metadir.path))}
    if metadir.files_root is not None:
        place[keys.META_FILES_ROOT] = dg.MetadataValue.path(str(metadir.files_root))
    return dg.AssetSpec(
        key, deps=deps, description=description, group_name=metadir.name, kinds={"sqlite"}, metadata=place
    )


def _job_spec(metadir: MetadirConfig, job: JobConfig, key: dg.AssetKey, state_db: dg.AssetKey) -> dg.AssetSpec:
    selection = describe(job.condition)
    selects = "all files" if job.condition == All(()) else f"files where {selection}"
    return dg.AssetSpec(
        key,
        deps=[state_db],
        description=f"{breakable(_action(job))} Selects {selects}. Each of them once, and again when {job.rerun_words}.",
        group_name=job.group or metadir.name,
        kinds=set(job.kinds) or _kinds(job),
        tags=job.tags,
        owners=job.owners,
        metadata=_metadata(job, selection),
        automation_condition=automation_condition(metadir, job),
        partitions_def=partitions_def(metadir, job),
        freshness_policy=freshness_policy(metadir, job),
    )


def _metadata(job: JobConfig, selection: str) -> dict[str, Any]:
    table = {keys.META_TABLE: job.load.table} if job.load is not None else {}
    return {
        keys.META_SELECTION: selection,
        keys.META_ACTION: breakable(_action(job)),
        keys.META_RULES: _rules(job),
        **table,
    }


def _action(job: JobConfig) -> str:
    """What the job does with a file, in a sentence without secrets."""
    if job.download is not None:
        return f"Downloads documents to {without_password(job.download.to)}."
    if job.load is not None:
        return f"Loads metadata into table {job.load.table} of {without_password(job.load.to)}."
    if job.call is not None:
        return f"Calls {job.call.function} with each {'batch of files' if job.call.batch else 'file'}."
    if job.command is not None:
        return f"Runs {job.command.run[0]} with each file."
    return "Works on files."


def _rules(job: JobConfig) -> dg.MarkdownMetadataValue:
    rules: dict[str, object] = {
        "again when": job.rerun_words,
        "attempts": job.attempts,
        "pause after a failure": f"{format_duration(job.backoff)}, doubled each time",
    }
    if job.partitions is not None:
        rules["partitions"] = job.partitions.words
    return bullets(rules)


def _kinds(job: JobConfig) -> set[str]:
    if job.download is not None:
        return {"file"}
    if job.load is not None:
        return {"table", job.load.to.split(":")[0].split("+")[0]}
    return {"shell"} if job.command is not None else {"python"}
