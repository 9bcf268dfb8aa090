"""``mmmeta_dagster.MetadirComponent``: a metadir in the YAML of a Dagster project.

Its attributes are a metadir of the project file, with its name beside them; relative paths are taken from the folder of
the component's ``defs.yaml``.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
from dagster.components.resolved.core_models import OpSpec
from pydantic import BaseModel, ValidationError

from mmmeta.config.validation import InnerError
from mmmeta.config.yaml_file import KeyPath
from mmmeta.errors import ProjectError, near_misses
from mmmeta.project import MetadirConfig, Variables
from mmmeta_dagster import keys
from mmmeta_dagster.assets.build import materialize
from mmmeta_dagster.assets.decorator import UnboundAsset
from mmmeta_dagster.assets.ending import Ending
from mmmeta_dagster.automation import automation_condition
from mmmeta_dagster.component.model import MetadirAttributes, fill_templates, resolution_of
from mmmeta_dagster.component.problems import check_neighbours, refused, told, unset_variables
from mmmeta_dagster.component.scaffolder import MetadirScaffolder
from mmmeta_dagster.component.words import NOTHING, Translation, Words, joined, read_words, translated
from mmmeta_dagster.location import build_definitions
from mmmeta_dagster.options import Options
from mmmeta_dagster.syncing import updated
from mmmeta_dagster.translator import DEFAULT, DagsterMmmetaTranslator, MetadirAsset, spec_of

_log = logging.getLogger(__name__)


@dg.scaffold_with(MetadirScaffolder)
class MetadirComponent(dg.Component):
    """A metadir with its jobs, sensor and schedules, as assets and Dagster jobs.

    Its attributes are those of a metadir in the project file `mmmeta.yaml`, and `name`, and `assets`: jobs that
    `@mmmeta_asset` made in Python; and `translation` and `op`, Dagster's own words, for all its assets or for a job.

    A subclass may override `get_asset_spec`, `get_op_spec` and `execute`.

    Example:
        >>> component = MetadirComponent(MetadirConfig(name="archive", path="/data/archive"))
        >>> component.metadir.name
        'archive'
    """

    translator: DagsterMmmetaTranslator = DEFAULT
    """How the assets look before `translation` and `op` say more; a subclass may bring another."""

    def __init__(
        self,
        metadir: MetadirConfig,
        assets: Sequence[UnboundAsset | dg.AssetsDefinition] = (),
        *,
        translation: Translation | None = None,
        op: OpSpec | None = None,
        jobs: Mapping[str, Words] | None = None,
    ) -> None:
        self.metadir = metadir
        self.assets = assets
        self.translation = translation
        self.op = op
        self.jobs: dict[str, Words] = {**dict.fromkeys(metadir.jobs, NOTHING), **(jobs or {})}

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        return MetadirAttributes

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> MetadirComponent:
        """Once more, now that the folder is known from which paths are taken, and with Dagster's own templates."""
        if not isinstance(attributes, MetadirAttributes):
            raise ProjectError("a metadir needs attributes: {name: archive, path: ./archive}", path=context.path)
        folder = context.path if context.path.is_dir() else context.path.parent
        written = attributes.written
        value, unfilled = fill_templates(written, context)
        wrong = [*unset_variables(written), *unfilled]
        wrong += told(context, written, attributes.errors, wrong)
        if wrong:
            raise refused(context, wrong)
        assets = [_asset(name, number, context) for number, name in enumerate(value.pop("assets", None) or ())]
        try:
            metadir = MetadirConfig.model_validate(value, context={"folder": folder, "needs_action": True})
        except ValidationError as error:
            raise refused(context, told(context, written, error.errors(include_url=False))) from None
        for job in metadir.jobs.values():
            try:
                automation_condition(metadir, job)
            except ProjectError as error:
                raise refused(context, [(("jobs", job.name, "automation"), error.reason)]) from None
        resolution = resolution_of(context)
        words: dict[KeyPath, Words] = {}
        problems: list[tuple[KeyPath, str]] = []
        for place, own in attributes.words.items():
            words[place], found = read_words(own, place, resolution)
            problems += found
        if problems:
            raise _refused(context, attributes.words, problems)
        whole = words.pop((), NOTHING)
        of_jobs = {str(place[1]): said for place, said in words.items()}
        made = cls(metadir, assets, translation=whole.translation, op=whole.op, jobs=of_jobs)
        made._written_words = attributes.words
        return made

    _written_words: Mapping[KeyPath, Mapping[str, Any]] = {}

    def get_asset_spec(self, asset: MetadirAsset) -> dg.AssetSpec:
        """How an asset looks in Dagster: by the translator, then by `translation` of the metadir, then by that of the job."""
        return translated(self.translator.get_asset_spec(asset), asset, self._said(asset))

    def get_op_spec(self, asset: MetadirAsset) -> OpSpec:
        """How the step of an asset runs: by the translator, then by `op` of the metadir, then by that of the job."""
        return joined(self.translator.get_op_spec(asset), asset, self._said(asset))

    def execute(self, context: dg.AssetExecutionContext, asset: MetadirAsset, options: Options) -> Ending:
        """What the step of an asset does: generate, update, or a job of the YAML. What `@mmmeta_asset` made runs its function.

        Example:
            >>> class Telling(MetadirComponent):
            ...     def execute(self, context, asset, options):
            ...         context.log.info(f"{asset.name} begins")
            ...         yield from super().execute(context, asset, options)
        """
        return materialize(context, asset, options, translator=_Shown(self))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        check_neighbours(context, self.metadir, [one.metadir for one in _components(context) if one is not self])
        shown = _Shown(self)
        self._check(context, shown)
        bound = [asset.bind(self.metadir, shown) if isinstance(asset, UnboundAsset) else asset for asset in self.assets]
        return build_definitions(
            metadirs={self.metadir.name: self.metadir}, assets=bound, translator=shown, execute=self.execute
        )

    def _said(self, asset: MetadirAsset) -> Iterator[tuple[KeyPath, Words]]:
        """What is said of an asset in Dagster's words, and where: the last word counts."""
        yield (), Words(self.translation, self.op)
        if asset.job is not None:
            yield ("jobs", asset.name), self.jobs.get(asset.name, NOTHING)

    def _check(self, context: dg.ComponentLoadContext, shown: DagsterMmmetaTranslator) -> None:
        """Refuse, at its place, what Dagster's words make of the assets where that cannot be."""
        assets = [MetadirAsset(self.metadir, name) for name in (keys.METADATA_DB, *updated(self.metadir))]
        assets += [MetadirAsset(self.metadir, job.name, job) for job in self.metadir.jobs.values()]
        taken: dict[str, str] = {}
        for asset in assets:
            try:
                key = spec_of(shown, asset).key.to_user_string()
                op = shown.get_op_spec(asset).name
            except InnerError as error:
                raise _refused(context, self._written_words, [(error.below, str(error))]) from None
            for what, word in ((f"the asset key {key}", "translation"), (f"the op {op}", "op")):
                other = taken.setdefault(what, asset.name)
                if other != asset.name:
                    own = asset.job is not None and word in self._written_words.get(("jobs", asset.name), ())
                    place: KeyPath = ("jobs", asset.name, word) if own else (word,)
                    reason = f"{other!r} and {asset.name!r} would both be {what}. Make another of one of them"
                    raise _refused(context, self._written_words, [(place, reason)])


class _Shown(DagsterMmmetaTranslator):
    """How a component says that its assets look."""

    def __init__(self, component: MetadirComponent) -> None:
        self._component = component

    def get_asset_spec(self, asset: MetadirAsset) -> dg.AssetSpec:
        return self._component.get_asset_spec(asset)

    def get_asset_key(self, asset: MetadirAsset) -> dg.AssetKey:
        return self._component.translator.get_asset_key(asset)

    def get_op_spec(self, asset: MetadirAsset) -> OpSpec:
        return self._component.get_op_spec(asset)


def _refused(
    context: dg.ComponentLoadContext,
    words: Mapping[KeyPath, Mapping[str, Any]],
    problems: Sequence[tuple[KeyPath, str]],
) -> Exception:
    """One error for all of them, without what environment variables held."""
    variables = Variables()
    for own in words.values():
        variables.fill(dict(own))
    return refused(context, [(key, variables.hide(reason)) for key, reason in problems])


def _components(context: dg.ComponentLoadContext) -> Sequence[MetadirComponent]:
    """All of the project; none where one of them does not load, which Dagster says at its place, or in a unit test."""
    try:
        return context.component_tree.get_all_components(MetadirComponent)
    except Exception:
        _log.debug("the components of the project cannot be compared", exc_info=True)
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
