"""``dg scaffold defs mmmeta_dagster.MetadirComponent``: a component that loads as it is, in YAML or in Python."""

from __future__ import annotations

from typing import ClassVar

import dagster as dg
from pydantic import BaseModel, ConfigDict, Field

from mmmeta.errors import ProjectError
from mmmeta.project.fields import check_name

_DOWNLOADS = {"download_all": {"download": {"to": "{{ context.project_root }}/downloads", "name": "{_file_name}"}}}

_PYTHON = '''"""The metadir {name}."""

import dagster as dg

from mmmeta_dagster import MetadirComponent


@dg.component_instance
def load(context: dg.ComponentLoadContext) -> MetadirComponent:
    """With the words of the YAML, and templates as there."""
    attributes = {attributes!r}
    return MetadirComponent.from_attributes_dict(attributes=attributes, context=context)
'''


class MetadirParameters(BaseModel):
    """What ``dg scaffold defs mmmeta_dagster.MetadirComponent`` may be given."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str = Field(default="archive", description="Name of the metadir: prefix of its assets and Dagster jobs.")
    path: str = Field(
        default="{{ context.project_root }}/archive",
        description="The folder that holds _mmmeta; a relative path is taken from the folder of the component.",
    )


class MetadirScaffolder(dg.Scaffolder[MetadirParameters]):
    """Writes a ``defs.yaml``, or a ``component.py``."""

    @classmethod
    def get_scaffold_params(cls) -> type[MetadirParameters]:
        return MetadirParameters

    def scaffold(self, request: dg.ScaffoldRequest[MetadirParameters]) -> None:
        given = request.params or MetadirParameters()
        try:
            check_name(given.name, "metadir")
        except ValueError as error:
            raise ProjectError(str(error)) from None
        attributes = {"name": given.name, "path": given.path, "jobs": _DOWNLOADS}
        if request.scaffold_format == "python":
            with open(request.target_path / "component.py", "w", encoding="utf-8") as file:
                file.write(_PYTHON.format(name=given.name, attributes=attributes))
        else:
            dg.scaffold_component(request, attributes)
