"""What a person may choose when starting a run by hand: the run config of the assets, as the Launchpad shows it.

No ``from __future__ import annotations`` in the modules that define config or assets: Dagster reads the annotations.
"""

import dagster as dg
from pydantic import Field


class GenerateOptions(dg.Config):
    """Options of ``<metadir>/metadata_db``; the defaults are what a schedule does."""

    replace: bool = Field(default=False, description="Start a new metadata db, with a new id, from the files alone.")
    ensure: bool = Field(default=False, description="Mark files deleted whose metadata file is gone.")
    ensure_files: bool = Field(default=False, description="Mark files deleted whose document is gone.")
    no_meta: bool = Field(default=False, description="Also describe the documents that have no metadata file.")
    allow_mass_delete: bool = Field(default=False, description="Go on although over half of all files, or all, vanish.")


class SyncOptions(dg.Config):
    """Options of ``<metadir>/synced``; the defaults are what the sensor does."""

    accept_older: bool = Field(default=False, description="Pull a revision that is older than the copy here.")


class UpdateOptions(dg.Config):
    """Options of ``<metadir>/state_db``; the defaults are what the sensor does."""

    replace: bool = Field(default=False, description="Rebuild the remote part of the state db. Local state is kept.")
    accept_older: bool = Field(default=False, description="Accept a metadata db that is older than what was merged.")
    allow_mass_delete: bool = Field(default=False, description="Go on although over half of all files, or all, vanish.")


class JobOptions(dg.Config):
    """Options of a job's asset; the defaults are what the sensor does.

    In a run for partitions all of them are about the files of these partitions only.
    """

    limit: int | None = Field(default=None, ge=1, description="Process at most this many files in this run.")
    retry_failed: bool = Field(default=False, description="Retry failed files now instead of when they are due.")
    retry_dead: bool = Field(default=False, description="Retry dead files too: those whose attempts are used up.")
    redo_done: bool = Field(default=False, description="Do files again that are done. A backfill leaves them alone.")


Options = GenerateOptions | SyncOptions | UpdateOptions | JobOptions
"""The options of a step: of which kind says what it does."""
