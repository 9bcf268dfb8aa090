"""Folders that documents cannot be downloaded into, because what lies in them is not a document.

The names of documents come from the remote. No document takes the place of a file that no job has put there, but a new
file in the right folder is enough for a remote that wants its code to run: a module that Python imports, a script. And a
folder that holds a database is no place for names that others choose.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from mmmeta.config.validation import InnerError
from mmmeta.config.yaml_file import KeyPath
from mmmeta.documents.reserved import is_reserved
from mmmeta.layout import METADIR
from mmmeta.project.fields import sqlite_file
from mmmeta.project.job import JobConfig


class Kept(NamedTuple):
    """Something that no name from a remote may come near.

    Attributes:
        path: of it, links followed.
        what: in words, as it stands behind "holds".
    """

    path: Path
    what: str


def check_download_targets(
    jobs: Mapping[KeyPath, JobConfig], *, states: Iterable[Path] = (), project_file: Path | None = None
) -> None:
    """Refuse the target folders of downloads that hold something else.

    Args:
        jobs: by the keys that lead to them.
        states: the state dbs.
        project_file: where there is one.

    Raises:
        InnerError: says which target holds what.
    """
    targets = {key: job.download.to for key, job in jobs.items() if job.download is not None}
    if not targets:
        return
    kept = list(kept_from_remotes(jobs.values(), states, project_file))
    for key, to in targets.items():
        reason = why_no_target(Path(to), kept)
        if reason is not None:
            raise InnerError(f"{reason}. Give it a folder of its own: ./downloads", (*key, "download", "to"))


def why_no_target(folder: Path, kept: Iterable[Kept]) -> str | None:
    """Why documents cannot be downloaded into a folder, None where they can."""
    target = _real(folder)
    if any(map(is_reserved, target.parts)):
        return f"{folder} lies in a folder of mmmeta's own"
    for one in kept:
        # What lies in a metadir is safe: no document's name can have that folder in it.
        if one.path.is_relative_to(target) and METADIR not in one.path.relative_to(target).parts:
            return f"{folder} holds {one.what}, and the names of documents come from the remote"
    return None


def kept_from_remotes(
    jobs: Iterable[JobConfig], states: Iterable[Path], project_file: Path | None = None
) -> Iterator[Kept]:
    """Everything that no name from a remote may come near: what these jobs run and write, and where Python imports from."""
    folders = [_real(Path(folder or os.curdir)) for folder in sys.path]
    if project_file is not None:
        yield Kept(_place(project_file), f"the project file {project_file.name}")
        folders.append(_real(project_file.parent))
    yield from (Kept(_place(path), f"the state db {path}") for path in states)
    for folder in folders:
        if os.path.exists(folder):  # unlike the method, also where it may not be looked at
            yield Kept(folder, f"{folder}, from where Python imports")
    for job in jobs:
        if job.load is not None and (path := sqlite_file(job.load.to)) is not None:
            yield Kept(_place(Path(path)), f"the database of the job {job.name!r}")
        if job.call is not None:
            module = job.call.function.partition(":")[0].split(".")
            for folder in folders:
                yield from (
                    Kept(folder.joinpath(*module[:depth]), f"the code of the job {job.name!r}")
                    for depth in range(1, len(module) + 1)
                )
        if job.command is not None:
            # The program, and the scripts that it is given; a folder among its arguments is what it works on.
            program, *arguments = (os.path.join(job.command.folder, word) for word in job.command.run)
            scripts = [program] if "/" in job.command.run[0] else []
            scripts += [path for path in arguments if "{" not in path and os.path.isfile(path)]
            yield from (Kept(_place(Path(path)), f"{path}, which the job {job.name!r} runs") for path in scripts)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _place(path: Path) -> Path:
    """Where a file lies, be it a link to somewhere else."""
    return _real(path.parent) / path.name
