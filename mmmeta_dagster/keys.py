"""Every name that appears in Dagster: asset keys, Dagster jobs, schedules, sensors, resources, run tags, metadata.

They stand here once, because people build on them: an asset of theirs depends on ``archive/download_contracts``, an
alert reads ``failed``, a query of theirs filters runs by ``mmmeta/metadir``.
"""

from __future__ import annotations

import dagster as dg

from mmmeta.health import checks

METADATA_DB = "metadata_db"
SYNCED = "synced"
STATE_DB = "state_db"


def asset_key(metadir: str, name: str) -> dg.AssetKey:
    """The asset of a metadir: ``metadata_db``, ``synced``, ``state_db`` or the name of a job."""
    return dg.AssetKey([metadir, name])


def op(metadir: str, name: str) -> str:
    """The op behind an asset, as Dagster itself would call it."""
    return f"{metadir}__{name}"


def pool(metadir: str) -> str:
    """The concurrency pool of all steps that write the state db of a metadir."""
    return f"{metadir}_state_db"


def generate_job(metadir: str) -> str:
    """The Dagster job that runs ``generate`` (at a server)."""
    return f"{metadir}_generate"


def update_job(metadir: str) -> str:
    """The Dagster job that updates the state db and does nothing else."""
    return f"{metadir}_update"


def import_job(metadir: str) -> str:
    """The Dagster job that updates, then runs all jobs; the sensor asks for it."""
    return f"{metadir}_import"


def work_job(metadir: str) -> str:
    """The Dagster job of the runs that share the work of the import; the sensor asks for them where there are ``shards``."""
    return f"{metadir}_work"


def work_pool(metadir: str) -> str:
    """The concurrency pool of the steps of jobs that have shards."""
    return f"{metadir}_work"


def shard(metadir: str, number: int) -> str:
    """The value of ``TAG_SHARD`` on one of the runs that share the work; each is there once at a time."""
    return f"{metadir}/{number}"


def checks_job(metadir: str) -> str:
    """The Dagster job that runs all asset checks and nothing else."""
    return f"{metadir}_checks"


def checks_op(metadir: str, name: str) -> str:
    """The op behind the checks of an asset."""
    return f"{metadir}__{name}__checks"


def single_job(metadir: str, job: str) -> str:
    """The Dagster job that updates, then runs one job."""
    return f"{metadir}_{job}"


def schedule(dagster_job: str) -> str:
    """The schedule of a Dagster job."""
    return f"{dagster_job}_schedule"


def retry_schedule(metadir: str) -> str:
    """The schedule that asks for ``<metadir>_import`` where a failed file is due."""
    return f"{metadir}_retry_schedule"


def remote_sensor(metadir: str) -> str:
    """The sensor that asks for ``<metadir>_import``."""
    return f"{metadir}_remote_updated"


def automation_sensor(metadir: str) -> str:
    """The sensor that evaluates ``automation`` of the jobs that have one."""
    return f"{metadir}_automation"


def automation_sensor_of(metadir: str, job: str) -> str:
    """The same for one job that has run tags of its own."""
    return f"{metadir}_{job}_automation"


def resource(metadir: str) -> str:
    """The resource that opens the metadir; one's own assets take it by this name."""
    return f"{metadir}_metadir"


# --- tags of runs ---------------------------------------------------------------------------------------------------

TAG_LENGTH = 500
"""Letters of a sentence in a run tag; the UI shows tags whole."""

TAG_METADIR = "mmmeta/metadir"
"""On every Dagster job: the name of the metadir."""

TAG_PATH = ".dagster/mmmeta_path"
"""On every Dagster job: the base path of the metadir. The sensor finds its own runs by it, also where two code
locations have a metadir of the same name. Dagster's UI does not show tags that begin like this."""

TAG_ATTEMPT = "mmmeta/attempt"
"""On a run that the sensor asked for: which attempt it is in the same situation; not on a first one."""

TAG_REASON = "mmmeta/reason"
"""On a run that the sensor asked for: why, in words."""

TAG_SHARD = "mmmeta/shard"
"""On a run that shares the work of the import: which of them it is, ``archive/3``; ``archive`` where a person started it.
Limits of ``dagster.yaml`` may count by it."""

TAG_JOBS = "mmmeta/jobs"
"""Beside ``TAG_SHARD``: the jobs that the run helps with, with commas between them."""

TAG_SINCE = ".dagster/mmmeta_since"
"""On a run that updates where work is shared: the last attempt in the ledger before it, as text."""

TAG_NOT_WHOLE = "mmmeta/not_whole"
"""On a run that found the metadir not usable (half synced, torn, older than merged): what is wrong, in words."""

TAG_SEEN = "mmmeta/seen"
"""Beside ``TAG_NOT_WHOLE``: the mark of the files that were seen, so that the sensor can tell when they change."""

TAG_PULL_FAILED = "mmmeta/pull_failed"
"""On a run that could not pull what the remote has published: why, in words."""

TAG_PULLED = ".dagster/mmmeta_pulled"
"""On a run that has pulled: which revision the copy had before, 0 for none. The update looks at it that comes after. Dagster's UI does not
show it."""

TAG_RUN_KEY = "dagster/run_key"
"""Dagster's own tag of a run that a sensor asked for."""

TAG_PRIORITY = "dagster/priority"
"""Dagster's own tag of an op: which of the steps that could run is next."""

TAG_BACKFILL = "dagster/backfill"
"""Dagster's own tag of a run that belongs to a backfill."""

TAG_DATA_VERSION = "dagster/data_version"
"""Dagster's own tag of a materialization that was made outside of a run."""

TAG_CODE_VERSION = "dagster/code_version"
"""Dagster's own tag of a materialization: of which code, as the asset says itself."""

TAG_INPUT_DATA_VERSION = "dagster/input_data_version"
"""What a tag of Dagster's own on a materialization begins with, before ``/`` and the key of an asset that it is made of.
The value is that asset's data version."""

NO_DATA_VERSION = "INITIAL"
"""What Dagster writes there of an asset that was never materialized: nobody has told it of what a sync brought by other means."""

# --- metadata of assets: what the UI shows and plots ----------------------------------------------------------------

META_PUBLISHED = "published"
META_ADDED = "added"
META_CHANGED = "changed"
META_DELETED = "deleted"
META_RETURNED = "returned"
META_UNCHANGED = "unchanged"
META_FILES = "dagster/row_count"
"""Dagster's own name for it: the UI shows it beside the asset."""
META_COLUMNS = "dagster/column_schema"
META_TABLE = "dagster/table_name"
"""Dagster's own names as well: the UI has a list of columns for the first."""
META_PROBLEMS = "set aside"
META_PROBLEM_TABLE = "problems"
META_NOTES = "notes"
META_HOW = "how"
META_REVISION_BEFORE = "revision before"
META_REVISION = "revision"

# Done, bytes and times are of this run; failed, dead, pending, "due later" and "in all" are how the files stand after it.
META_DONE = "done"
META_FAILED = "failed"
META_DEAD = "dead"
META_PENDING = "pending"
META_DUE_LATER = "due later"
META_RETRACTED = "retracted"
META_LEFT = "set aside unprocessed"
META_OLDEST_PENDING = "oldest pending (seconds)"
META_DONE_IN_ALL = "done in all"
META_SET_ASIDE_IN_ALL = "set aside in all"
META_WHY_SET_ASIDE = "why set aside"
META_BYTES = "size (bytes)"
META_FAILURES = "failures"
META_SUMMARY = "summary"
META_SELECTION = "selection"
META_SEE_MORE = "see more"

META_MOVED = "files moved"
META_DOCUMENTS = "documents brought"
META_DOCUMENTS_MISSING = "documents that could not be had"

META_SHARD = "shard"
META_DONE_BY_SHARD = "done by shard"
"""On the observation of a run that shares the work; the numbers of all together stand in the materialization."""

META_DURATION = "duration (seconds)"
META_FILES_PER_SECOND = "files per second"
META_BYTES_PER_SECOND = "bytes per second"
META_FILES_DONE = "files"

META_PARTITIONS = "partitions"
META_PARTITIONS_LEFT_OUT = "without a partition"
META_OUTSIDE = "files outside of partitions"
META_DONE_IN_PARTITION = "done in partition"

# --- asset checks and their metadata; counts have the names above ---------------------------------------------------

CHECK_REVISION = checks.REVISION
CHECK_TYPES = checks.TYPES
CHECK_DEAD = checks.DEAD
CHECK_FAILURES = checks.FAILURES
CHECK_LAG = checks.LAG
CHECK_LEFT = checks.LEFT
CHECK_RESULTS = checks.RESULTS

META_SHARE = "share of failures"
META_LIMIT = "limit"
"""As text: it only changes with the project file, and Dagster draws a plot for each number."""
META_LEFT_LATELY = "left lately"
META_LEFT_OUT = "left out"
META_PUBLISHED_REVISION = "published revision"
META_LOOKED = "looked for"
META_MISSING = "missing"
META_MISSING_TABLE = "what is missing"
META_KEYS = "keys"
META_KEY_TABLE = "what came"
META_REMEDY = "what mends it"

# --- metadata of asset definitions ----------------------------------------------------------------------------------

META_PATH = "path"
META_REMOTE = "remote"
META_FILES_ROOT = "files root"
META_ACTION = "action"
META_RULES = "rules"
