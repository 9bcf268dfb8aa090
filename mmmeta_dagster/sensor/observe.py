"""Gathers what the sensor decides from: the store, the status of the state, the project file's jobs, and Dagster's runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import dagster as dg

from mmmeta.clock import utcnow
from mmmeta.errors import MmmetaError, StoreAccessError
from mmmeta.filters import grows_with_time
from mmmeta.inspection import metadata_head
from mmmeta.layout import Layout, why_misplaced
from mmmeta.metadata.publication import REMOTE_REVISION, REMOTE_UPDATED
from mmmeta.project import MetadirConfig
from mmmeta.state.open import read_signs
from mmmeta.state.status import Status, file_identity, metadata_version
from mmmeta.store.remote import Publication, read_publication
from mmmeta.store.store import Store
from mmmeta_dagster import keys
from mmmeta_dagster.files_seen import is_gone, layout_of, mark_of_files, why_not_readable
from mmmeta_dagster.runs import helpers_of, runs_of
from mmmeta_dagster.sensor.situation import JobWanted, SharedJob, Situation
from mmmeta_dagster.syncing import pulls, remote_of, why_never_pulled

REMOTE_TIMEOUT = 10.0
"""Seconds that the remote has to answer, once a tick. Dagster ends a tick after 60 seconds; long before that the sensor has
to go on with what is known here."""

_LOADED = utcnow()
"""When the code was loaded."""


def observe(
    metadir: MetadirConfig, instance: dg.DagsterInstance, after: Mapping[str, frozenset[str]] | None = None
) -> Situation:
    """The situation of a metadir now. Reads small files, and what machines tell each other where they share the state, and asks
    Dagster for runs; the metadata db is asked for its head in one case only (``_why_older``).

    Args:
        after: job → the jobs that it hangs on; None where no run can be asked for that would share the work.

    Raises:
        MmmetaError: the state is in a database that cannot be asked.
    """
    layout = layout_of(metadir)
    published, store_problem = _published(layout)
    signs = read_signs(layout, utcnow)
    status = signs.status()
    unreadable = why_not_readable(layout, status)
    stale = None if unreadable is not None else _why_older(metadir, layout, status)
    announced = _announced(layout)
    elsewhere = signs.are_shared and status is not None and (is_gone(layout) or (stale is not None and pulls(metadir)))
    if elsewhere and status is not None:
        # Runs have a copy of their own: what they have merged stands for the one that is not here.
        published, announced = status.remote_last_updated, status.revision
        store_problem = unreadable = stale = None
    here = Situation(
        metadir=metadir.name,
        path=str(layout.base),
        published=published,
        store_problem=store_problem,
        merged=status,
        state_problem=_state_problem(layout, status),
        not_whole=unreadable or stale,
        is_stale=stale is not None,
        is_gone=is_gone(layout),
        misplaced=why_misplaced(layout.base),
        announced=announced,
        metadata_file=metadata_version(layout),
        seen=mark_of_files(layout),
        jobs={name: JobWanted(job.fingerprint(), grows_with_time(job.condition)) for name, job in metadir.jobs.items()},
        somebody_works=signs.somebody_works(),
        latest_beat=signs.latest_beat(),
        runs=runs_of(instance, keys.import_job(metadir.name), metadir, signs, status),
        helpers=() if after is None else helpers_of(instance, metadir, signs, status),
        shared={} if after is None else _shared(metadir, after),
        interval=metadir.sensor.interval,
        attempts=metadir.sensor.attempts,
        loaded=_LOADED,
        pulls=pulls(metadir),
        never_pulled=why_never_pulled(metadir),
        is_shared=signs.are_shared,
        is_elsewhere=elsewhere,
    )
    remote, remote_problem = _remote(remote_of(metadir))  # last, because it may take seconds
    return replace(here, remote=remote, remote_problem=remote_problem)


def _shared(metadir: MetadirConfig, after: Mapping[str, frozenset[str]]) -> dict[str, SharedJob]:
    """The jobs that have shards."""
    return {
        name: SharedJob(shards, job.batch_size, after.get(name, frozenset()), bool(job.run_tags))
        for name, job in metadir.jobs.items()
        if (shards := metadir.shards_of(job))
    }


def _remote(base: str | None) -> tuple[Publication | None, str | None]:
    """What the store at the remote says, and why it cannot be read."""
    if base is None:
        return None, None
    try:
        return read_publication(base, timeout=REMOTE_TIMEOUT), None
    except StoreAccessError as error:
        return None, str(error).rstrip(".")


def _published(layout: Layout) -> tuple[str | None, str | None]:
    """The raw text of the store's key, and why there is none."""
    store = Store(layout)
    try:
        text = store.raw(REMOTE_UPDATED)
        moment = store.moment(REMOTE_UPDATED)
    except StoreAccessError as error:
        return None, str(error).rstrip(".")
    if text is None:
        return None, None
    if moment is None:
        return None, f"{layout.store / REMOTE_UPDATED} holds {text[:40]!r}, which is no moment (yet)"
    return text, None


def _announced(layout: Layout) -> int | None:
    """The revision that the store announces; None where it announces none that can be read."""
    try:
        revision = Store(layout).get(REMOTE_REVISION)
    except StoreAccessError:
        return None
    return revision if type(revision) is int else None


def _state_problem(layout: Layout, status: Status | None) -> str | None:
    """What happened to the state db since status.json was written, which may have outlived it."""
    if status is None or status.state_file is None:
        return None
    found = file_identity(layout.state)
    if found is None:
        return f"the state db {layout.state} is gone"
    if found != status.state_file:
        return f"the state db {layout.state} is another file than before"
    return None


def _why_older(metadir: MetadirConfig, layout: Layout, status: Status | None) -> str | None:
    """That meta.db is an older copy than was merged, which an update would refuse; None where it is not.

    The store alone cannot tell it from a metadata db that was made anew. So meta.db itself is asked, where the store went
    back and meta.db is another file than the last update read: in no other case.
    """
    if status is None or status.revision is None or _state_problem(layout, status) is not None:
        return None
    announced = _announced(layout)
    if announced is None or announced >= status.revision or status.metadata_file == metadata_version(layout):
        return None
    try:
        found = metadata_head(layout)
    except MmmetaError:
        return None  # a run says what is wrong with it
    if found.id != status.metadata_id or found.revision >= status.revision:
        return None
    return (
        f"{layout.meta_db} is a stale copy: revision {found.revision}, merged already {status.revision}. Sync again; if the "
        f"remote really went back, run {metadir.command('update --accept-older')}"
    )
