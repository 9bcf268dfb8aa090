"""Which metadir a verb acts on: argument, environment, project file, current directory, in this order.

``--metadir`` is a name of the project file or a path; a path (also that of MMMETA) that the project file describes
brings its jobs, its state db and its files root along; MMMETA_STATE outranks the state db of the project file. ``--project`` typed as an argument outranks MMMETA. With
several metadirs in the project file and nothing else said, ``generate`` takes those with ``generate: true``;
``update``, ``run``, ``status`` and ``inspect`` take all; ``find``, ``dump`` and ``store`` want one named.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmmeta.cli.options import Settings
from mmmeta.errors import near_misses
from mmmeta.layout import FILES_ROOT_ENVIRONMENT, PATH_ENVIRONMENT, STATE_ENVIRONMENT, state_path

if TYPE_CHECKING:
    from mmmeta.metadir import Metadir
    from mmmeta.project import MetadirConfig, Project


@dataclass(frozen=True, eq=False)
class Target:
    """One metadir that a verb acts on.

    Attributes:
        name: as the project file has it, otherwise the folder's name.
        path: absolute base path.
        files_root: where it was given by argument or environment.
        config: its part of the project file, where there is one.
        project: the project file's path, where there is one.
    """

    name: str
    path: Path
    files_root: str | None = None
    config: MetadirConfig | None = None
    project: Path | None = None

    @property
    def jobs(self) -> tuple[str, ...]:
        """Names of its jobs in the project file, in their order there."""
        return () if self.config is None else tuple(self.config.jobs)

    @property
    def without_jobs(self) -> str:
        """Why it has no jobs, in a sentence, where it has none."""
        return f"no jobs: {self.project} has none for it" if self.project else "no jobs: there is no project file"

    def command(self, words: str) -> str:
        """A command line about this metadir that works when it is copied, in whatever folder."""
        if self.config is not None:
            return self.config.command(words)
        return f"mmmeta --metadir {shlex.quote(str(self.path))} {words}"

    def open(self, *, worker: bool = False) -> Metadir:
        """The metadir; it creates nothing by being opened.

        Args:
            worker: without files, where the ledger is not here either.
        """
        from mmmeta.metadir import Metadir, mmmeta

        if self.config is None:
            return mmmeta(self.path, self.files_root, worker=worker)
        config = self.config
        if self.files_root is not None:
            config = config.model_copy(update={"files_root": str(Path(self.files_root).expanduser().absolute())})
        if state := os.environ.get(STATE_ENVIRONMENT):
            config = config.model_copy(update={"state": state_path(state, STATE_ENVIRONMENT)})
        return Metadir.from_config(config, worker=worker)


def find_targets(ctx: click.Context) -> list[Target]:
    """Every metadir that is meant, at least one.

    Raises:
        ProjectError: the project file is not valid or not there.
        click.UsageError: ``--metadir`` names nothing, or one files root or state db is given for several metadirs.
    """
    settings = Settings.of(ctx)
    project = _project(settings.project)
    files_root = settings.files_root or os.environ.get(FILES_ROOT_ENVIRONMENT) or None
    environment = os.environ.get(PATH_ENVIRONMENT)
    if settings.metadir is not None:
        return [_named(settings.metadir, project, files_root)]
    if environment and not (project is not None and settings.project):
        return [_at(Path(environment), project, files_root)]
    if project is None:
        return [_at(Path.cwd(), None, files_root)]
    targets = [_configured(config, project, files_root) for config in project.metadirs.values()]
    if files_root is not None and len(targets) > 1:
        raise click.UsageError(
            f"One files root for several metadirs: name one with --metadir ({', '.join(project.metadirs)}), or unset "
            f"{FILES_ROOT_ENVIRONMENT}."
        )
    if os.environ.get(STATE_ENVIRONMENT) and len(targets) > 1:
        raise click.UsageError(
            f"One state db for several metadirs: name one with --metadir ({', '.join(project.metadirs)}), or unset "
            f"{STATE_ENVIRONMENT} and write state: into the project file."
        )
    return targets


def find_target(ctx: click.Context) -> Target:
    """The one metadir that is meant.

    Raises:
        click.UsageError: the project file has several, and none was named.
    """
    targets = find_targets(ctx)
    if len(targets) > 1:
        names = ", ".join(target.name for target in targets)
        raise click.UsageError(f"Which metadir? The project file has {names}: add --metadir NAME.")
    return targets[0]


def _project(argument: str | None) -> Project | None:
    if argument is None and not os.environ.get("MMMETA_PROJECT") and not Path("mmmeta.yaml").exists():
        return None  # most calls: without importing what reads project files
    from mmmeta.project import find_project, load_project

    path = Path(argument) if argument is not None else find_project()
    return None if path is None else load_project(path)


def _named(argument: str, project: Project | None, files_root: str | None) -> Target:
    if project is not None and argument in project.metadirs:
        return _configured(project.metadirs[argument], project, files_root)
    path = Path(argument)
    if project is not None and not path.expanduser().exists() and os.sep not in argument:
        raise click.BadParameter(
            f"{argument!r} is neither a metadir of {project.path} ({', '.join(project.metadirs)}) nor a folder."
            + near_misses(argument, project.metadirs),
            param_hint="--metadir",
        )
    return _at(path, project, files_root)


def _at(path: Path, project: Project | None, files_root: str | None) -> Target:
    """The metadir at a path, with what the project file says about it."""
    path = path.expanduser()
    if project is not None:
        for config in project.metadirs.values():
            if os.path.realpath(config.path) == os.path.realpath(path):
                return _configured(config, project, files_root)
    name = path.resolve().name or str(path)
    return Target(name, path.absolute(), files_root, project=project.path if project else None)


def _configured(config: MetadirConfig, project: Project, files_root: str | None) -> Target:
    return Target(config.name, Path(config.path), files_root, config=config, project=project.path)
