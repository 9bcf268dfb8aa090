"""What is wrong with a component once its templates are filled: named with file, line and key.

Also what two components of one project may not have in common.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from mmmeta.config.validation import all_problems, explained
from mmmeta.config.yaml_file import Document, KeyPath, key_text, read_yaml
from mmmeta.errors import InvalidFileError, ProjectError
from mmmeta.project import MetadirConfig, Variables, check_names
from mmmeta_dagster.component.model import MetadirAttributes
from mmmeta_dagster.component.words import OP, TRANSLATION

WrongKey = tuple[KeyPath, str]
"""A key below ``attributes``, and what is wrong with it."""


def refused(context: dg.ComponentLoadContext, problems: Sequence[WrongKey]) -> InvalidFileError:
    """One error for all that is wrong in a component's ``defs.yaml``, a line each."""
    file = _file_of(context)
    try:
        return all_problems(read_yaml(file, ProjectError), [(("attributes", *key), reason) for key, reason in problems])
    except (OSError, ProjectError):  # several components in one file, or none: the keys say enough
        first, *more = [ProjectError(reason, path=file, key=key_text(key) or None) for key, reason in problems]
        return ProjectError("".join([first.reason, *(f"\n{one}" for one in more)]), path=file, key=first.key)


def told(
    context: dg.ComponentLoadContext, written: Mapping[str, Any], errors: Sequence[Any], known: Sequence[WrongKey] = ()
) -> list[WrongKey]:
    """What pydantic has found in the attributes, in the words of the project file, without what environment variables held.

    Args:
        written: the attributes as they stand in the file.
        known: what is wrong already; what follows from it is left out.
    """
    variables = Variables()
    variables.fill(dict(written))
    document = Document(_file_of(context), written, ProjectError, _lines(context))
    found = explained(MetadirAttributes, errors, document, [key for key, _ in known], _dagsters)
    return [(key, variables.hide(reason)) for key, reason in found]


def unset_variables(written: Mapping[str, Any]) -> list[WrongKey]:
    """The environment variables that are asked for and are not there."""
    variables = Variables()
    variables.fill(dict(written))
    return [(key, reason) for key, reason in variables.problems if "is not set" in reason]


def _dagsters(above: KeyPath) -> Sequence[str]:
    """Dagster's words, where they may stand."""
    return (TRANSLATION, OP) if not above or (len(above) == 2 and above[0] == "jobs") else ()


def _lines(context: dg.ComponentLoadContext) -> dict[KeyPath, int]:
    """The lines of what stands below ``attributes``; none where nobody can tell."""
    try:
        lines = read_yaml(_file_of(context), ProjectError).lines
    except (OSError, ProjectError):
        return {}
    return {key[1:]: line for key, line in lines.items() if key[0] == "attributes"}


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
