"""What is wrong with a component once its templates are filled: named with file, line and key.

Also what two components of one project may not have in common.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import dagster as dg

from mmmeta.config.validation import all_problems
from mmmeta.config.yaml_file import KeyPath, key_text, read_yaml
from mmmeta.errors import InvalidFileError, ProjectError
from mmmeta.project import MetadirConfig, check_names

WrongKey = tuple[KeyPath, str]
"""A key below ``attributes``, and what is wrong with it."""


def refused(context: dg.ComponentLoadContext, problems: Sequence[WrongKey]) -> InvalidFileError:
    """One error for all that is wrong in a component's ``defs.yaml``."""
    file = _file_of(context)
    try:
        return all_problems(read_yaml(file, ProjectError), [(("attributes", *key), reason) for key, reason in problems])
    except (OSError, ProjectError):  # several components in one file, or none: the keys say enough
        reasons = [f"{key_text(key)}: {reason}" if key else reason for key, reason in problems]
        return ProjectError("; ".join(reasons), path=file)


def check_neighbours(context: dg.ComponentLoadContext, metadir: MetadirConfig, others: Iterable[MetadirConfig]) -> None:
    """Refuse a metadir whose name, state db or names of Dagster jobs another component of the project has as well.

    Raises:
        ProjectError: as the project file would, for two of its metadirs.
    """
    names = {metadir.name: metadir}
    for other in others:
        if other.name == metadir.name:
            reason = f"another component is called {other.name!r}, too. Choose another name for one of them"
            raise refused(context, [(("name",), reason)])
        if other.state_place == metadir.state_place:
            reason = (
                f"{metadir.name!r} and {other.name!r} have the same state db. Give one of them another state: or path:"
            )
            raise refused(context, [(("state" if metadir.state else "path",), reason)])
        names[other.name] = other
    try:
        check_names(names)
    except ValueError as error:
        raise refused(context, [(("jobs",), str(error))]) from None


def _file_of(context: dg.ComponentLoadContext) -> Path:
    return context.path / "defs.yaml" if context.path.is_dir() else context.path
