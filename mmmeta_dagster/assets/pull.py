"""The step that brings a metadir here: pull it, show what was moved, fail with the sync's own words.

Which documents belong to it only the merged metadata tells. So where the project file wants some (``sync: {documents: …}``), the update
behind the pull brings them, before the jobs begin.
"""

from __future__ import annotations

import warnings
from typing import Any

import dagster as dg

from mmmeta import Metadir
from mmmeta.errors import MmmetaError, SyncError, UnknownKeyWarning
from mmmeta.metadata.publication import REMOTE_UPDATED
from mmmeta.project import MetadirConfig
from mmmeta.store.store import Store
from mmmeta.sync import pull
from mmmeta.sync.documents import pull_documents
from mmmeta.writing import make_folder
from mmmeta_dagster import keys
from mmmeta_dagster.assets.ending import Ending, brings_news, ending
from mmmeta_dagster.assets.publications import data_version_of
from mmmeta_dagster.assets.step import LoggedProgress, failure
from mmmeta_dagster.files_seen import layout_of
from mmmeta_dagster.heartbeat import beating
from mmmeta_dagster.options import SyncOptions
from mmmeta_dagster.shown import reporting
from mmmeta_dagster.shown.markdown import command


def pull_metadir(context: dg.AssetExecutionContext, metadir: MetadirConfig, options: SyncOptions) -> Ending:
    """Pull what the remote has published, as the project file says.

    Raises:
        Failure: with the message of the error that ended the pull, which is also in the run's tag ``TAG_PULL_FAILED``. The copy
            is as it was. Dagster does not retry it: the pull itself has, and the sensor asks again.
    """
    layout = layout_of(metadir)
    try:
        make_folder(layout.metadir)  # for the signs of life of a first pull, which may take long
        with beating(layout, context.run.run_id):
            report = pull(layout, metadir.sync, accept_older=options.accept_older, progress=LoggedProgress(context))
        published = Store(layout).raw(REMOTE_UPDATED)
    except (MmmetaError, OSError) as error:
        words = " ".join(str(error).split())
        context.instance.add_run_tags(context.run.run_id, {keys.TAG_PULL_FAILED: words[: keys.TAG_LENGTH]})
        raise failure(words) from None
    for note in report.notes:
        context.log.info(note)
    if metadir.sync.documents is not None:
        before = report.revision_before or 0
        context.instance.add_run_tags(context.run.run_id, {keys.TAG_PULLED: str(before)})
    # The publication as version, as for the metadata db: a pull without news makes nothing downstream look out of date.
    version = None if published is None else data_version_of(published)
    news = brings_news(context, metadir, keys.SYNCED, version, {})
    metadata = reporting.of_pull(report, command(metadir, "status"))
    return ending(context, metadir, keys.SYNCED, metadata, version=version, news=news)


def bring_documents(context: dg.AssetExecutionContext, metadir: MetadirConfig, m: Metadir) -> dict[str, Any]:
    """Bring the documents that ``sync`` selects and that are missing, in a run that has pulled; gives what to say of it.

    Those that cannot be had are named in the log, and fail nothing here: a job that needs one says so of its file.

    Raises:
        SyncError: there is no place for them.
    """
    wanted = metadir.sync.documents
    run = None if wanted is None else context.instance.get_run_by_id(context.run.run_id)
    before = None if run is None else run.tags.get(keys.TAG_PULLED)
    if wanted is None or before is None:
        return {}
    if metadir.sync.pull is None:
        raise SyncError("documents are brought from pull: only, for a program brings what it was told to")
    if m.layout.files_root == m.layout.base:
        raise SyncError(
            "nothing says where documents belong: name a folder for them as files_root: in the project file"
        )
    with warnings.catch_warnings(record=True) as doubts:
        warnings.simplefilter("always", UnknownKeyWarning)
        files = m.files.find(wanted)
    for doubt in doubts:  # of a mistyped key, by which nothing would be brought, and nobody would know why
        context.log.error(f"documents below sync in the project file: {doubt.message}")
    report = pull_documents(
        files,
        metadir.sync.pull,
        m.layout.files_root,
        m.config,
        since=int(before),
        progress=LoggedProgress(context),
    )
    for failure_of_one in report.failures:
        context.log.warning(failure_of_one)
    return {keys.META_DOCUMENTS: report.fetched, **reporting.present({keys.META_DOCUMENTS_MISSING: report.failed})}
