"""The beginning of an archive: looks at a folder, and writes what is not there yet of config.yml and the project file."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import yaml

from mmmeta.config.model import Config, load_config
from mmmeta.errors import MetadirNotFoundError, MmmetaError, ReadOnlyMetadirError
from mmmeta.init.folder import Folder, look_at
from mmmeta.init.proposal import Proposal, propose
from mmmeta.init.texts import Names, config_text, project_text
from mmmeta.layout import METADIR, STATE_DB, Layout, why_misplaced
from mmmeta.project.reading import load_project
from mmmeta.reports import Progress
from mmmeta.writing import make_folder, refuse_legacy, write_atomic

WRITTEN, LEFT, SAME, WOULD = "written", "left", "same", "would be written"

_DOWNLOADS, _DATABASE = "downloads", "documents.db"


@dataclass(frozen=True)
class Proposed:
    """One of the two files.

    Attributes:
        path: where it belongs.
        text: what it should say.
        outcome: ``written``; ``would be written`` (a dry run); ``left``, because there is one that says something else;
            ``same``, because there is one that says this.
    """

    path: Path
    text: str
    outcome: str


@dataclass(frozen=True)
class Beginning:
    """What ``init`` has found and done.

    Attributes:
        config, project: the two files; ``config`` is None where a metadata db was made already without one.
    """

    folder: Folder
    proposal: Proposal
    config: Proposed | None
    project: Proposed


def begin(
    layout: Layout, project: Path, *, now: datetime, dry_run: bool = False, progress: Progress | None = None
) -> Beginning:
    """Look at a files root, and write config.yml and the project file, where there are none.

    What is there already is left as it is, and what it says is what is proposed for the rest.

    Args:
        layout: where the metadir is or will be, and the files root.
        project: absolute path of the project file.
        now: aware UTC; its day stands in the comments.

    Raises:
        MetadirNotFoundError: there is no files root, or nothing in it.
        ReadOnlyMetadirError: the metadir is a client's copy.
        LegacyMetadirError, ConfigError: it is one of an older mmmeta, or its config.yml is not valid.
        OSError: the folder cannot be read, or the files cannot be written.
    """
    given = _given(layout)
    names = _names(layout, project)
    file_name = None if given is None else given.metadata.file_name
    ignore = (*(() if given is None else given.ignore), *names.ignore)
    folder = look_at(layout.files_root, file_name, ignore, progress)
    if not folder.metadata_files and not folder.documents:
        raise MetadirNotFoundError(_nothing(folder))
    proposal = propose(folder, given)
    day = f"{now.astimezone():%Y-%m-%d}"
    config = None
    if given is None or os.path.lexists(layout.config):
        config = _write(layout.config, config_text(folder, proposal, names, day), load_config, dry_run)
    text = project_text(folder, proposal, names, day)
    return Beginning(folder, proposal, config, _write(project, text, load_project, dry_run))


def _given(layout: Layout) -> Config | None:
    """What was decided here already: by config.yml, or by a metadata db that was made without one."""
    if layout.base.name == METADIR or METADIR in layout.files_root.parts:
        raise MetadirNotFoundError(f"{layout.files_root} lies in a metadir; name the folder with the documents")
    if not layout.files_root.is_dir():
        what = "is no folder" if os.path.lexists(layout.files_root) else "is not there"
        raise MetadirNotFoundError(f"{layout.files_root} {what}. Name the folder with the documents")
    refuse_legacy(layout.metadir)
    has_db = layout.has_metadata
    if (has_db or os.path.lexists(layout.local / STATE_DB)) and not os.path.lexists(layout.server_mark):
        raise ReadOnlyMetadirError(
            f"{layout.base} is a client's copy of an archive: its metadata is written elsewhere, and there is nothing to "
            "begin. `mmmeta update` merges it; the jobs go into a project file, docs/jobs.md"
        )
    if not has_db and (reason := why_misplaced(layout.base)) is not None:
        raise MetadirNotFoundError(reason)
    return load_config(layout.config) if has_db or os.path.lexists(layout.config) else None


def _nothing(folder: Folder) -> str:
    if folder.unseen.count:
        return f"nothing in {folder.root} can be read: {folder.unseen.named[0]}"
    ignored = f" but {folder.ignored:,} that are ignored as litter" if folder.ignored else ""
    return f"{folder.root} has no files{ignored}. Put the documents there, or name the folder that has them"


def _names(layout: Layout, project: Path) -> Names:
    """How things are called in the project file, and what of them generate has to ignore."""
    here = project.parent
    downloads, database = _free(here, project, _DOWNLOADS), _free(here, project, _DATABASE)
    root = layout.files_root
    ignore = []
    if here.is_relative_to(root):
        below = here.relative_to(root)
        for name in (f"{downloads}/", database, f"{database}-*", project.name):
            ignore.append(f"/{_pattern(below.as_posix())}/{_pattern(name)}" if below.parts else f"/{_pattern(name)}")
    return Names(
        metadir=re.sub(r"\W+", "_", layout.base.name, flags=re.ASCII).strip("_") or "archive",
        path=_written(layout.base, here),
        files_root=None if root == layout.base else _written(root, here),
        downloads=f"./{downloads}",
        database=database,
        ignore=tuple(ignore),
    )


def _free(here: Path, project: Path, name: str) -> str:
    """A name for what a job will write, that nothing has yet, however it is spelled; beside a project file, which may have
    made it, the usual one."""
    if os.path.lexists(project) or not here.is_dir():
        return name
    taken = {entry.casefold() for entry in os.listdir(here)}
    stem, dot, end = name.partition(".")
    choices = (name, f"mmmeta_{name}", *(f"mmmeta_{stem}_{number}{dot}{end}" for number in range(2, 1_000)))
    return next(choice for choice in choices if choice not in taken)


def _pattern(name: str) -> str:
    """A name as gitignore takes it literally; the star at an end is meant."""
    stem, star = (name[:-1], "*") if name.endswith("-*") else (name, "")
    return re.sub(r"([\\*?\[\]!#])", r"\\\1", stem) + star


def _written(path: Path, here: Path) -> str:
    """A path as it stands in a file of the folder ``here``."""
    text = path.as_posix()
    if path.is_relative_to(here):
        below = path.relative_to(here).as_posix()
        text = "." if below == "." else f"./{below}"
    try:
        text.encode()
    except UnicodeEncodeError:
        raise MmmetaError(f"{path}: the name is not UTF-8, and a project file is. Rename the folder") from None
    if "{{" in text:
        raise MmmetaError(f"{path}: {{{{ in a project file begins a variable. Rename the folder, or begin elsewhere")
    return text


def _write(path: Path, text: str, check: Callable[[Path], object], dry_run: bool) -> Proposed:
    """Write a file that is not there yet, once what reads it has taken it."""
    if os.path.lexists(path):
        return Proposed(path, text, SAME if _says(path, text) else LEFT)
    if dry_run:
        return Proposed(path, text, WOULD)
    make_folder(path.parent)
    # Under another name first, so that a mistake of ours leaves nothing behind that stops every verb.
    trial = path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}.tmp")  # a name that nothing there has
    try:
        write_atomic(trial, text.encode())
        check(trial)
        try:
            os.link(trial, path)
        except FileExistsError:
            return Proposed(path, text, LEFT)
        except OSError:  # a file system without links
            os.rename(trial, path)
    finally:
        trial.unlink(missing_ok=True)
    return Proposed(path, text, WRITTEN)


def _says(path: Path, text: str) -> bool:
    """Whether a file says what a text does, comments aside."""
    try:
        return bool(yaml.safe_load(path.read_bytes()) == yaml.safe_load(text))
    except (OSError, ValueError, yaml.YAMLError):
        return False
