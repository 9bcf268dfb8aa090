"""The step that brings a metadir here: pull it, show what was moved, fail with the sync's own words."""

from __future__ import annotations

import dagster as dg

from mmmeta.errors import MmmetaError
from mmmeta.metadata.publication import REMOTE_UPDATED
from mmmeta.project import MetadirConfig
from mmmeta.store.store import Store
from mmmeta.sync import pull
from mmmeta.writing import make_folder
from mmmeta_dagster import keys
from mmmeta_dagster.assets.ending import Ending, brings_news, ending
from mmmeta_dagster.assets.publications import data_version_of
from mmmeta_dagster.assets.step import LoggedProgress, failure
from mmmeta_dagster.files_seen import layout_of
from mmmeta_dagster.heartbeat import beating
from mmmeta_dagster.options import SyncOptions
from mmmeta_dagster.shown import reporting


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
    # The publication as version, as for the metadata db: a pull without news makes nothing downstream look out of date.
    version = None if published is None else data_version_of(published)
    news = brings_news(context, metadir, keys.SYNCED, version, {})
    metadata = reporting.of_pull(report, metadir.command("status"))
    return ending(context, metadir, keys.SYNCED, metadata, version=version, news=news)
