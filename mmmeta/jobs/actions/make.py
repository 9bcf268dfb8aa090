"""The action that a job's definition names."""

from __future__ import annotations

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
        JobError: it names none, or a function that cannot be imported or used.
    """
    action = job.action
    if isinstance(action, DownloadAction):
        return Download(action, config, layout, job.timeout, places)
    if isinstance(action, LoadAction):
        return Load(action, config, layout, job, state_id)
    if isinstance(action, CallAction):
        return CallFunction(import_function(action.function, job.name), batched=action.batch)
    if isinstance(action, CommandAction):
        return Command(action, config, layout, job.name, job.timeout, run_id)
    raise JobError(
        f"job {job.name!r} has no action; give it download, load, call or command, or pass a function to run()"
    )
