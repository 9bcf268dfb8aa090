"""A JSON Schema of the project file, for editors and for ``dg``."""

from __future__ import annotations

import json
from typing import Any

from mmmeta.project.fields import NAME_PATTERN
from mmmeta.project.job import JobConfig
from mmmeta.project.models import MetadirConfig, Project


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
    # Of a command's folder the default is the current one, here as everywhere a path is read.
    definitions["MetadirConfig"]["properties"]["sync"]["default"] = {}
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
