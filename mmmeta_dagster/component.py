"""``mmmeta_dagster.MetadirComponent``: a metadir in the YAML of a Dagster project.

Its attributes are a metadir of the project file, with its name beside them; relative paths are taken from the folder of
the component's ``defs.yaml``.
"""

from __future__ import annotations

from typing import Any

import dagster as dg
from pydantic import BaseModel, Field, PrivateAttr, ValidationError, model_validator

from mmmeta.errors import ProjectError
from mmmeta.project import MetadirConfig, fill_variables, metadir_schema
from mmmeta.validation import reason_of
from mmmeta_dagster.location import build_definitions
from mmmeta_dagster.translator import DEFAULT, DagsterMmmetaTranslator


class MetadirAttributes(MetadirConfig):
    """What stands under ``attributes``, checked where Dagster can still tell the line of what is wrong."""

    _written: Any = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _fill(cls, value: Any, handler: Any) -> Any:
        filled, problems = fill_variables(value)
        unset = [reason for _, reason in problems if "is not set" in reason]
        if unset:
            raise ValueError("; ".join(unset))
        made = handler(filled)
        made._written = value
        return made

    @classmethod
    def model_json_schema(cls, *arguments: Any, **options: Any) -> dict[str, Any]:
        """That of the project file: a text with an environment variable does wherever a number is asked for."""
        return metadir_schema()


class MetadirParameters(BaseModel):
    """What ``dg scaffold defs mmmeta_dagster.MetadirComponent`` may be given."""

    name: str = Field(default="archive", description="Name of the metadir: prefix of its assets and Dagster jobs.")
    path: str = Field(default="./archive", description="The folder that holds _mmmeta.")


class MetadirScaffolder(dg.Scaffolder[MetadirParameters]):
    """Writes a ``defs.yaml`` that loads as it is."""

    @classmethod
    def get_scaffold_params(cls) -> type[MetadirParameters]:
        return MetadirParameters

    def scaffold(self, request: dg.ScaffoldRequest[MetadirParameters]) -> None:
        given = request.params or MetadirParameters()
        example = {
            "download_all": {"download": {"to": "./downloads", "name": "{_file_name}"}},
        }
        dg.scaffold_component(request, {"name": given.name, "path": given.path, "jobs": example})


@dg.scaffold_with(MetadirScaffolder)
class MetadirComponent(dg.Component):
    """A metadir with its jobs, sensor and schedules, as assets and Dagster jobs.

    Its attributes are those of a metadir in the project file `mmmeta.yaml`, and `name`.

    Example:
        >>> component = MetadirComponent(MetadirConfig(name="archive", path="/data/archive"))
        >>> component.metadir.name
        'archive'
    """

    translator: DagsterMmmetaTranslator = DEFAULT
    """How the assets look; a subclass may bring another."""

    def __init__(self, metadir: MetadirConfig) -> None:
        self.metadir = metadir

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        return MetadirAttributes

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> MetadirComponent:
        """Once more, now that the folder is known from which paths are taken, and with Dagster's own templates."""
        if not isinstance(attributes, MetadirAttributes):
            raise ProjectError("a metadir needs attributes: {name: archive, path: ./archive}", path=context.path)
        filled, _ = fill_variables(attributes._written)
        resolved = context.resolution_context.resolve_value(filled)
        folder = context.path if context.path.is_dir() else context.path.parent
        try:
            metadir = MetadirConfig.model_validate(resolved, context={"folder": folder, "needs_action": True})
        except ValidationError as error:
            raise ProjectError(reason_of(error), path=context.path) from None
        return cls(metadir)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        return build_definitions(metadirs={self.metadir.name: self.metadir}, translator=self.translator)
