"""The action that a job's definition names."""

from __future__ import annotations

from pathlib import Path

from mmmeta.config.model import Config
from mmmeta.errors import JobError
from mmmeta.jobs.actions.action import Action
from mmmeta.jobs.actions.call import CallFunction, import_function
from mmmeta.jobs.actions.command import Command
from mmmeta.jobs.actions.download import Download
from mmmeta.jobs.actions.load import Load
from mmmeta.jobs.actions.places import Places
from mmmeta.layout import Layout
from mmmeta.project.actions import CallAction, CommandAction, DownloadAction, LoadAction
from mmmeta.project.download_targets import kept_from_remotes, why_no_target
from mmmeta.project.job import JobConfig


def make_action(
    job: JobConfig,
    config: Config,
    layout: Layout,
    state_id: str,
    run_id: str | None = None,
    places: Places | None = None,
) -> Action:
    """The action that a job's definition names.

    Args:
        places: tells an action that writes documents who has which place; needed for a run only.

    Raises:
        JobError: it names none, a folder that documents cannot be downloaded into, or a function that cannot be imported or used.
    """
    action = job.action
    if isinstance(action, DownloadAction):
        if places is not None:
            reason = why_no_target(Path(action.to), kept_from_remotes([job], [layout.state]))
            if reason is not None:
                raise JobError(f"job {job.name!r}: {reason}. Give it a folder of its own")
        return Download(action, config, layout, job.timeout, places, job.backoff)
    if isinstance(action, LoadAction):
        return Load(action, config, layout, job, state_id)
    if isinstance(action, CallAction):
        return CallFunction(import_function(action.function, job.name, job.beside), batched=action.batch)
    if isinstance(action, CommandAction):
        return Command(action, config, layout, job.name, job.timeout, run_id)
    raise JobError(
        f"job {job.name!r} has no action; give it download, load, call or command, or pass a function to run()"
    )
