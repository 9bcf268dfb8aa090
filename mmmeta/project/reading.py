"""The project file ``mmmeta.yaml``: where it is, and how it is read.

It belongs to the client and is not synced. ``{{ env.NAME }}`` is filled in before anything is checked, and what an
environment variable held never shows in an error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mmmeta.config.validation import validate
from mmmeta.config.yaml_file import KeyPath, key_text, read_yaml
from mmmeta.errors import InvalidFileError, ProjectError
from mmmeta.project.models import Project
from mmmeta.project.variables import Variables

PROJECT_ENVIRONMENT = "MMMETA_PROJECT"
PROJECT_FILE = "mmmeta.yaml"


def find_project(environ: Mapping[str, str] | None = None, cwd: str | os.PathLike[str] | None = None) -> Path | None:
    """The absolute path of the project file: ``MMMETA_PROJECT``, else ``mmmeta.yaml`` in the current directory.

    None where the variable is unset or empty and the directory has no such file.

    Raises:
        ProjectError: the variable names a file that is not there.
    """
    variables = os.environ if environ is None else environ
    folder = Path.cwd() if cwd is None else Path(cwd)
    named = variables.get(PROJECT_ENVIRONMENT)
    if named:
        path = _absolute(named, folder)
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise ProjectError(f"{what}, but {PROJECT_ENVIRONMENT} names it as the project file", path=path)
        return path
    path = _absolute(PROJECT_FILE, folder)
    # A link that leads nowhere is a mistake to be told, not a directory without a project file.
    return path if os.path.lexists(path) else None


def load_project(path: str | os.PathLike[str], environ: Mapping[str, str] | None = None) -> Project:
    """Read and check a project file.

    Relative paths in it become absolute, taken from its folder; ``{{ env.NAME }}`` is filled in from ``environ``
    (the process's environment unless given). Nothing it names is opened or created.

    Raises:
        ProjectError: it is not there or not valid; names file, line, key and reason, with near misses.
    """
    variables = os.environ if environ is None else environ
    file = _absolute(os.fspath(path), Path.cwd())
    try:
        document = read_yaml(file, ProjectError)
    except FileNotFoundError:
        if file.is_symlink():
            raise ProjectError(f"is a link to {os.readlink(file)}, which is not there", path=file) from None
        raise ProjectError("there is no project file here", path=file) from None
    if document.value is None:
        raise ProjectError("is empty. It needs metadirs: {archive: {path: ./archive}}", path=file, line=1)
    version = document.value.get("version")
    if isinstance(version, int) and version > 1:
        # First of all: what a newer version has added would only be reported as unknown keys.
        raise document.problem(("version",), f"this mmmeta knows version 1, not {version}. Upgrade mmmeta")
    if "path" in document.value:
        raise document.problem(("path",), "a path belongs to a metadir, below metadirs:")
    filled = Variables(variables)
    value = {**filled.fill(document.value, ()), "path": file}
    context = {"folder": file.parent, "project_file": file, "needs_action": True}
    try:
        return validate(Project, value, document, context, filled.problems)
    except ProjectError as error:
        reason = filled.hide(error.reason)
        raise ProjectError(reason, path=error.path, line=error.line, key=error.key) from None


def project_problem(file: Path | None, key: KeyPath, reason: str) -> InvalidFileError:
    """An error about something in a project file that only shows when it is put to use; with its line, as all others.

    Args:
        file: as in ``MetadirConfig.project_file``; None for what no file stands behind.
        key: from the top of the file, ``("metadirs", "archive", "jobs", "extract", "automation")``.
    """
    try:
        if file is not None:
            return read_yaml(file, ProjectError).problem(key, reason)
    except (OSError, ProjectError):
        pass  # it was changed since it was read; the key says enough
    return ProjectError(reason, path=file, key=key_text(key))


def _absolute(text: str, folder: Path) -> Path:
    return Path(os.path.abspath(folder / os.path.expanduser(text)))
