"""The attributes of ``MetadirComponent``: read, checked as far as templates allow, then filled from Dagster's templates."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar

import dagster as dg
from pydantic import BeforeValidator, Field, PrivateAttr, ValidationError, model_validator

from mmmeta.config.yaml_file import KeyPath
from mmmeta.project import MetadirConfig, Variables, metadir_schema
from mmmeta_dagster.component.words import add_to_schema, reason_of_template, taken_out

_TEMPLATE = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_VARIABLE = re.compile(r"\{\{\s*env\.")

_IN_PLACE_OF_A_NUMBER = r"\{\{"
"""In the schema: what text may stand where a number is asked for. Here any template of Dagster's does."""


def _as_names(value: Any) -> Any:
    """What ``assets`` lists; nothing at all is none."""
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"needs a list: [{value if isinstance(value, str) else 'package.module.name'}]")
    return value


class MetadirAttributes(MetadirConfig):
    """What stands under ``attributes``: a metadir of the project file, with its name, and jobs that were made in Python."""

    not_in_file: ClassVar[frozenset[str]] = frozenset()

    assets: Annotated[
        tuple[str, ...],
        BeforeValidator(_as_names),
        Field(description="jobs made by @mmmeta_asset without a metadir: package.module.name"),
    ] = ()

    _written: Any = PrivateAttr(default=None)
    _words: Mapping[KeyPath, Mapping[str, Any]] = PrivateAttr(default_factory=dict)
    _errors: Sequence[Any] = PrivateAttr(default=())

    @property
    def written(self) -> Mapping[str, Any]:
        """The attributes as they stand in the file, without Dagster's words."""
        return self._written or {}

    @property
    def words(self) -> Mapping[KeyPath, Mapping[str, Any]]:
        """``translation`` and ``op`` as they stand in the file, of the metadir and of each job, by place."""
        return self._words

    @property
    def errors(self) -> Sequence[Any]:
        """pydantic's errors about what is wrong whatever the templates give. Who loads the component tells them, for Dagster would
        tell them in pydantic's words."""
        return self._errors

    @model_validator(mode="wrap")
    @classmethod
    def _fill(cls, value: Any, handler: Any) -> Any:
        value, words = taken_out(value)
        errors: list[Any] = []
        try:
            made = handler(Variables().fill(value))
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
            errors = [one for one in found if _is_known(one, _at(value, one["loc"]))]
            made = cls.model_construct()  # what stands in templates is known when it is loaded
        made._written = value
        made._words = words
        made._errors = errors
        return made

    @classmethod
    def model_json_schema(cls, *arguments: Any, **options: Any) -> dict[str, Any]:
        """That of the project file, in which any template does wherever a number is asked for."""
        schema = metadir_schema()
        assets = {"type": "array", "items": {"type": "string"}, "description": cls.model_fields["assets"].description}
        schema["properties"]["assets"] = assets
        # Dagster makes up a sample of whatever is not below a name, and a selection may hold others without end.
        schema["$defs"]["SyncConfig"]["properties"]["documents"]["examples"] = [{"document_type": "contract"}]
        plain: dict[str, Any] = _plain(schema)
        add_to_schema(plain)
        return plain


def fill_templates(value: Any, context: dg.ComponentLoadContext) -> tuple[Any, list[tuple[KeyPath, str]]]:
    """A copy of what was written with all templates filled, and what is wrong with those that cannot be.

    Environment variables are filled in as in the project file, where they are text. What is no template stays as it is:
    Dagster's own filling makes a number of the text "123".
    """
    problems: list[tuple[KeyPath, str]] = []
    return _filled(value, resolution_of(context), (), problems), problems


def resolution_of(context: dg.ComponentLoadContext) -> dg.ResolutionContext:
    """What Dagster's templates can name in a component."""
    scope = SimpleNamespace(project_root=str(context.project_root.resolve()))
    for name in ("load_component", "build_defs"):
        if hasattr(context, name):  # the oldest Dagster that is supported has other names for them
            setattr(scope, name, getattr(context, name))
    return context.resolution_context.with_scope(context=scope)


def _filled(value: Any, resolution: dg.ResolutionContext, key: KeyPath, problems: list[tuple[KeyPath, str]]) -> Any:
    if isinstance(value, Mapping):
        return {name: _filled(entry, resolution.at_path(name), (*key, name), problems) for name, entry in value.items()}
    if isinstance(value, list):
        return [
            _filled(entry, resolution.at_path(number), (*key, number), problems) for number, entry in enumerate(value)
        ]
    if not isinstance(value, str):
        return value
    try:
        whole = _TEMPLATE.fullmatch(value)
        if whole and "{{" not in value[2:]:
            return _one(value, resolution)  # a number stays one
        return _TEMPLATE.sub(lambda found: str(_one(found.group(), resolution)), value)
    except Exception as error:  # Dagster raises errors of many types for what its templates give
        problems.append((key, reason_of_template(error)))
        return value


def _one(template: str, resolution: dg.ResolutionContext) -> Any:
    if _VARIABLE.match(template):
        return Variables().fill(template)
    return resolution.resolve_value(template)


def _at(value: Any, location: tuple[int | str, ...]) -> Any:
    """What was written at a place; what is above it, where pydantic's place goes deeper than the file."""
    for part in location:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            break
    return value


def _is_known(error: Any, written: Any) -> bool:
    """Whether something is wrong for certain: what a template of Dagster's gives is not known yet, but its key is."""
    template = isinstance(written, str) and any(not _VARIABLE.match(one) for one in _TEMPLATE.findall(written))
    return not template or error["type"] == "extra_forbidden"


def _plain(schema: Any) -> Any:
    """The schema without "or nothing", so that ``dg check yaml`` names the key that is wrong and not what is around it."""
    if isinstance(schema, list):
        return [_plain(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: _plain(entry) for key, entry in schema.items()}
    options = [option for option in result.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) == 1:
        del result["anyOf"]
        result = {**options[0], **{key: entry for key, entry in result.items() if key != "default"}}
    if "pattern" in result and str(result["pattern"]).startswith(r"\{\{"):
        result["pattern"] = _IN_PLACE_OF_A_NUMBER
    return result
