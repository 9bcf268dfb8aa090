"""``mmmeta_dagster.MetadirComponent``: a metadir in the YAML of a Dagster project.

Its attributes are a metadir of the project file, with its name beside them; relative paths are taken from the folder of
the component's ``defs.yaml``.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence

import dagster as dg
from pydantic import BaseModel, Field, ValidationError

from mmmeta.config.validation import reasons_of
from mmmeta.config.yaml_file import KeyPath
from mmmeta.errors import ProjectError, near_misses
from mmmeta.project import MetadirConfig, Variables
from mmmeta_dagster.assets.decorator import UnboundAsset
from mmmeta_dagster.automation import automation_condition
from mmmeta_dagster.component.model import MetadirAttributes, fill_templates
from mmmeta_dagster.component.problems import check_neighbours, refused
from mmmeta_dagster.location import build_definitions
from mmmeta_dagster.translator import DEFAULT, DagsterMmmetaTranslator

log = logging.getLogger(__name__)


class MetadirParameters(BaseModel):
    """What ``dg scaffold defs mmmeta_dagster.MetadirComponent`` may be given."""

    name: str = Field(default="archive", description="Name of the metadir: prefix of its assets and Dagster jobs.")
    path: str = Field(
        default="{{ context.project_root }}/archive",
        description="The folder that holds _mmmeta; a relative path is taken from the folder of the defs.yaml.",
    )


class MetadirScaffolder(dg.Scaffolder[MetadirParameters]):
    """Writes a ``defs.yaml`` that loads as it is."""

    @classmethod
    def get_scaffold_params(cls) -> type[MetadirParameters]:
        return MetadirParameters

    def scaffold(self, request: dg.ScaffoldRequest[MetadirParameters]) -> None:
        given = request.params or MetadirParameters()
        downloads = {"to": "{{ context.project_root }}/downloads", "name": "{_file_name}"}
        example = {"download_all": {"download": downloads}}
        dg.scaffold_component(request, {"name": given.name, "path": given.path, "jobs": example})


@dg.scaffold_with(MetadirScaffolder)
class MetadirComponent(dg.Component):
    """A metadir with its jobs, sensor and schedules, as assets and Dagster jobs.

    Its attributes are those of a metadir in the project file `mmmeta.yaml`, and `name`, and `assets`: jobs that
    `@mmmeta_asset` made in Python.

    Example:
        >>> component = MetadirComponent(MetadirConfig(name="archive", path="/data/archive"))
        >>> component.metadir.name
        'archive'
    """

    translator: DagsterMmmetaTranslator = DEFAULT
    """How the assets look; a subclass may bring another."""

    def __init__(self, metadir: MetadirConfig, assets: Sequence[UnboundAsset | dg.AssetsDefinition] = ()) -> None:
        self.metadir = metadir
        self.assets = assets

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        return MetadirAttributes

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> MetadirComponent:
        """Once more, now that the folder is known from which paths are taken, and with Dagster's own templates."""
        if not isinstance(attributes, MetadirAttributes):
            raise ProjectError("a metadir needs attributes: {name: archive, path: ./archive}", path=context.path)
        folder = context.path if context.path.is_dir() else context.path.parent
        value = fill_templates(attributes.written, context)
        assets = [_asset(name, number, context) for number, name in enumerate(value.pop("assets", None) or ())]
        try:
            metadir = MetadirConfig.model_validate(value, context={"folder": folder, "needs_action": True})
        except ValidationError as error:
            variables = Variables()
            variables.fill(attributes.written)
            raise refused(context, [(key, variables.hide(reason)) for key, reason in reasons_of(error)]) from None
        for job in metadir.jobs.values():
            try:
                automation_condition(metadir, job)
            except ProjectError as error:
                raise refused(context, [(("jobs", job.name, "automation"), error.reason)]) from None
        return cls(metadir, assets)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        check_neighbours(context, self.metadir, [one.metadir for one in _components(context) if one is not self])
        bound = [
            asset.bind(self.metadir, self.translator) if isinstance(asset, UnboundAsset) else asset
            for asset in self.assets
        ]
        return build_definitions(metadirs={self.metadir.name: self.metadir}, assets=bound, translator=self.translator)


def _components(context: dg.ComponentLoadContext) -> Sequence[MetadirComponent]:
    """All of the project; none where one of them does not load, which Dagster says at its place, or in a unit test."""
    try:
        return context.component_tree.get_all_components(MetadirComponent)
    except Exception:
        log.debug("the components of the project cannot be compared", exc_info=True)
        return []


def _asset(name: str, number: int, context: dg.ComponentLoadContext) -> UnboundAsset | dg.AssetsDefinition:
    """What ``package.module.name`` names, which stands at this place of the list.

    Raises:
        ProjectError: there is none, or it is nothing that ``@mmmeta_asset`` made.
    """
    key: KeyPath = ("assets", number)
    module_name, _, attribute = name.rpartition(".")
    if not module_name:
        raise refused(context, [(key, f"{name!r} names no module. Write package.module.{name}")])
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there; something that it imports is not
        raise refused(context, [(key, f"there is no module {error.name!r} ({name})")]) from None
    found = getattr(module, attribute, None)
    if found is None:
        hint = near_misses(attribute, vars(module))
        raise refused(context, [(key, f"{module_name} has no {attribute!r}.{hint}")])
    if not isinstance(found, (UnboundAsset, dg.AssetsDefinition)):
        raise refused(context, [(key, f"{name} is not made by @mmmeta_asset; put it above the function")])
    return found
