"""The project file ``mmmeta.yaml``: where it is, and how it is read.

It belongs to the client and is not synced. ``{{ env.NAME }}`` is filled in before anything is checked, and what an
environment variable held never shows in an error.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmmeta.config.validation import validate
from mmmeta.config.yaml_file import KeyPath, key_text, read_yaml
from mmmeta.errors import InvalidFileError, ProjectError, near_misses
from mmmeta.project_actions import CallAction, CommandAction, DownloadAction, LoadAction
from mmmeta.project_fields import NAME_PATTERN
from mmmeta.project_models import (
    RESERVED_JOBS,
    JobConfig,
    Limit,
    MetadirConfig,
    Project,
    Schedules,
    SensorConfig,
    check_names,
    job_config,
)

__all__ = [
    "RESERVED_JOBS",
    "CallAction",
    "CommandAction",
    "DownloadAction",
    "JobConfig",
    "Limit",
    "LoadAction",
    "MetadirConfig",
    "Project",
    "Schedules",
    "SensorConfig",
    "check_names",
    "find_project",
    "job_config",
    "json_schema",
    "load_project",
    "project_problem",
    "schema_text",
]

PROJECT_ENVIRONMENT = "MMMETA_PROJECT"
PROJECT_FILE = "mmmeta.yaml"

_SHORTEST_SECRET = 4
"""Characters. What is shorter is not hidden from messages: hiding a 1 would garble every line number."""

_VARIABLE = re.compile(
    r"""\{\{\s*env\.([A-Za-z_][A-Za-z0-9_]*)\s*(?:\|\s*default\(\s*(?:"([^"]*)"|'([^']*)')\s*\)\s*)?\}\}"""
)


def find_project(environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Path | None:
    """The absolute path of the project file: ``MMMETA_PROJECT``, else ``mmmeta.yaml`` in the current directory.

    None where the variable is unset or empty and the directory has no such file.

    Raises:
        ProjectError: the variable names a file that is not there.
    """
    variables = os.environ if environ is None else environ
    folder = Path.cwd() if cwd is None else cwd
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


class Variables:
    """Fills in environment variables and remembers what they held; also for those who read the schema of the project file
    from another file.

    Attributes:
        problems: what could not be filled in, and why.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._used: dict[str, str] = {}
        self.problems: list[tuple[KeyPath, str]] = []

    def fill(self, value: Any, key: KeyPath = ()) -> Any:
        """A copy of a value with every string filled."""
        if isinstance(value, dict):
            return {name: self.fill(entry, (*key, name)) for name, entry in value.items()}
        if isinstance(value, list):
            return [self.fill(entry, (*key, index)) for index, entry in enumerate(value)]
        return "".join(self._pieces(value, key)) if isinstance(value, str) and "{{" in value else value

    def _pieces(self, text: str, key: KeyPath) -> Iterator[str]:
        position = 0
        for match in _VARIABLE.finditer(text):
            yield self._literal(text[position : match.start()], key)
            position = match.end()
            name, *defaults = match.groups()
            default = next((entry for entry in defaults if entry is not None), None)
            found = self._environ.get(name, default)
            if found is None:
                hint = near_misses(name, self._environ)
                remedy = f'Set it, or write {{{{ env.{name} | default("…") }}}}'
                self.problems.append((key, f"the environment variable {name} is not set.{hint} {remedy}"))
                found = match.group()
            if name in self._environ:
                self._used[found] = f"{{{{ env.{name} }}}}"
            yield found
        yield self._literal(text[position:], key)

    def _literal(self, text: str, key: KeyPath) -> str:
        if "{{" in text:
            start = text.index("{{")
            known = '{{ env.NAME }} and {{ env.NAME | default("…") }}'
            self.problems.append((key, f"{text[start : start + 40]!r} is not known here. There are {known}"))
        return text

    def hide(self, message: str) -> str:
        """A message with the variables' names where it has what they held."""
        for secret in sorted(self._used, key=len, reverse=True):
            if len(secret) >= _SHORTEST_SECRET:
                for text in {secret, repr(secret)[1:-1]}:
                    message = message.replace(text, self._used[secret])
        return message


def json_schema() -> dict[str, Any]:
    """A JSON Schema (2020-12) of the project file, for editors; shipped as ``project.schema.json`` in the package."""
    schema = Project.model_json_schema()
    definitions = schema.pop("$defs")
    for model in (JobConfig, MetadirConfig):
        _drop(definitions[model.__name__], model.not_in_file)
    _drop(schema, Project.not_in_file)
    definitions = _with_variables(definitions)
    schema = _with_variables(schema)
    checks = definitions["MetadirConfig"]["properties"]["checks"]
    checks["anyOf"] = [{"type": "boolean"}, {"$ref": checks.pop("$ref")}]
    checks["default"] = True
    schema["properties"]["version"] = {"const": 1, "description": "version of the project file's format"}
    for holder, name in ((schema, "metadirs"), (definitions["MetadirConfig"], "jobs")):
        holder["properties"][name]["propertyNames"] = {"pattern": NAME_PATTERN}
    definitions["Where"] = _WHERE
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "mmmeta.yaml",
        "$defs": definitions,
    }


def metadir_schema() -> dict[str, Any]:
    """A JSON Schema of one metadir by itself, with its name as a key of its own."""
    whole = json_schema()
    metadir = whole["$defs"].pop("MetadirConfig")
    properties = {
        "name": {"type": "string", "pattern": NAME_PATTERN, "description": "prefix of assets and Dagster jobs"}
    }
    return {
        "$schema": whole["$schema"],
        **metadir,
        "properties": {**properties, **metadir["properties"]},
        "required": ["name", *metadir["required"]],
        "$defs": whole["$defs"],
    }


def schema_text() -> str:
    """``project.schema.json`` as it is shipped."""
    return json.dumps(json_schema(), indent=2, sort_keys=True) + "\n"


_VALUE = {"type": ["string", "number", "boolean", "null"]}
_WHERE: dict[str, Any] = {
    "description": "key: value, key: [values], key: {operator: value}; $any, $all and $not combine",
    "type": "object",
    "properties": {
        "$any": {"type": "array", "items": {"$ref": "#/$defs/Where"}},
        "$all": {"type": "array", "items": {"$ref": "#/$defs/Where"}},
        "$not": {"$ref": "#/$defs/Where"},
    },
    "additionalProperties": {"anyOf": [_VALUE, {"type": "array", "items": _VALUE}, {"type": "object"}]},
}


def _drop(model: dict[str, Any], names: frozenset[str]) -> None:
    for name in names:
        model["properties"].pop(name, None)
    model["required"] = [name for name in model.get("required", []) if name not in names]


def _with_variables(schema: Any) -> Any:
    """Everywhere a number or a boolean is asked for, a text with an environment variable does as well."""
    if isinstance(schema, list):
        return [_with_variables(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("title") == "Where":
        return {"$ref": "#/$defs/Where"} | {key: schema[key] for key in ("description",) if key in schema}
    if any(option.get("type") == "string" for option in schema.get("anyOf", ())):
        return {key: entry for key, entry in schema.items() if key != "title"}
    result = {key: _with_variables(entry) for key, entry in schema.items() if not _is_title(key, entry)}
    if len(result.get("allOf", ())) == 1:
        # How older versions of pydantic write a reference that has a description.
        result |= result.pop("allOf")[0]
    if result.get("type") in ("integer", "number", "boolean"):
        about = {key: result.pop(key) for key in ("default", "description") if key in result}
        return {"anyOf": [result, {"type": "string", "pattern": r"\{\{ *env\."}], **about}
    return result


def _is_title(key: str, entry: object) -> bool:
    """Whether this is pydantic's own title of a field, which says nothing; a property may be called title, too."""
    return key == "title" and isinstance(entry, str)
