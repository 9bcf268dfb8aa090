"""``translation`` and ``op`` in the YAML of a component: Dagster's own words for how assets look and how their steps run.

They mean what they mean in Dagster's own integrations, and are read by Dagster: its templates, with ``spec`` for what the
words of the project file have made, and ``name``, ``job`` and ``metadir`` for what the asset stands for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster.components import AssetAttributesModel
from dagster.components.resolved.core_models import OpSpec
from dagster.components.utils import TranslatorResolvingInfo
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema

from mmmeta.config.validation import InnerError, reasons_of
from mmmeta.config.yaml_file import KeyPath
from mmmeta.errors import near_misses
from mmmeta_dagster.translator import MetadirAsset

TRANSLATION, OP = "translation", "op"

Translation = Callable[[dg.AssetSpec, MetadirAsset], dg.AssetSpec]
"""How an asset shall look, made of how it would look without."""

_OP_NAME = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True)
class Words:
    """What a component, or a job in it, says in Dagster's words.

    Attributes:
        translation: how its assets look; None where nothing is said.
        op: how its steps run; None where nothing is said.
    """

    translation: Translation | None = None
    op: OpSpec | None = None


NOTHING = Words()


def taken_out(value: Any) -> tuple[Any, dict[KeyPath, dict[str, Any]]]:
    """The attributes without Dagster's words, and these, by where they stand: ``()`` or ``("jobs", name)``."""
    if not isinstance(value, Mapping):
        return value, {}
    rest, own = _split(value)
    found: dict[KeyPath, dict[str, Any]] = {(): own} if own else {}
    jobs = rest.get("jobs")
    if isinstance(jobs, Mapping):
        rest["jobs"] = {}
        for name, job in jobs.items():
            rest["jobs"][name], own = _split(job) if isinstance(job, Mapping) else (job, {})
            if own:
                found["jobs", name] = own
    return rest, found


def _split(value: Mapping[Any, Any]) -> tuple[dict[Any, Any], dict[str, Any]]:
    own = {word: value[word] for word in (TRANSLATION, OP) if value.get(word) is not None}
    return {key: entry for key, entry in value.items() if key not in (TRANSLATION, OP)}, own


def read_words(
    own: Mapping[str, Any], place: KeyPath, resolution: dg.ResolutionContext
) -> tuple[Words, list[tuple[KeyPath, str]]]:
    """What is said in Dagster's words at a place, and what is wrong with it."""
    problems: list[tuple[KeyPath, str]] = []
    translation, op = own.get(TRANSLATION), own.get(OP)
    if translation is not None and not isinstance(translation, str):
        translation = _checked(AssetAttributesModel, translation, (*place, TRANSLATION), problems)
    step = None if op is None else _checked(OpSpec.model(), op, (*place, OP), problems)
    if problems:
        return NOTHING, problems
    made = None
    if step is not None:
        try:
            made = OpSpec.resolve_from_model(resolution, step)
            if made.name is not None and not _OP_NAME.fullmatch(made.name):
                problems.append(
                    ((*place, OP, "name"), f"{made.name!r} is no name of an op: letters, digits and _ only")
                )
        # Dagster raises errors of many types for what its templates give.
        except Exception as error:
            problems.append(((*place, OP), reason_of_template(error)))
    return Words(None if translation is None else _translation(translation, resolution), made), problems


def _checked(model: type[BaseModel], value: Any, place: KeyPath, problems: list[tuple[KeyPath, str]]) -> Any:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        reasons: dict[KeyPath, str] = {}
        for (key, reason), found in zip(reasons_of(error), error.errors(include_url=False), strict=True):
            if found["type"] == "extra_forbidden" and len(key) == 1:
                hint = near_misses(str(key[0]), model.model_fields) or f" There are {', '.join(model.model_fields)}"
                reason = f"is not a key that is known here.{hint}"
            # A value may be one thing or another; each of them would be an error of its own.
            reasons.setdefault((*place, *key[:1]), reason)
        problems += reasons.items()
        return None


def _translation(model: Any, resolution: dg.ResolutionContext) -> Translation:
    info = TranslatorResolvingInfo(model, resolution, TRANSLATION)

    def translate(spec: dg.AssetSpec, asset: MetadirAsset) -> dg.AssetSpec:
        scope = {"spec": spec, "name": asset.name, "job": asset.job, "metadir": asset.metadir}
        return info.get_asset_spec(spec, scope)

    return translate


def translated(spec: dg.AssetSpec, asset: MetadirAsset, said: Iterator[tuple[KeyPath, Words]]) -> dg.AssetSpec:
    """How an asset looks after one translation after the other.

    Raises:
        InnerError: one of them cannot be: names where it stands.
    """
    for place, words in said:
        if words.translation is None:
            continue
        try:
            new = words.translation(spec, asset)
        except Exception as error:  # of many types, as above
            # Its own text is all there is to say; what it stems from may hold what a variable held.
            raise InnerError(reason_of_template(error), (*place, TRANSLATION)) from None
        if asset.job is not None and asset.job.partitions is not None and new.partitions_def != spec.partitions_def:
            reason = (
                f"the job {asset.name!r} has partitions: of its own, which divide its files. Leave partitions_def out"
            )
            raise InnerError(reason, (*place, TRANSLATION))
        spec = new
    return spec


def joined(op: OpSpec, asset: MetadirAsset, said: Iterator[tuple[KeyPath, Words]]) -> OpSpec:
    """How a step runs after one ``op`` after the other. A name for all of a metadir is what those of its ops begin with."""
    for place, words in said:
        own = words.op
        if own is None:
            continue
        op = OpSpec(
            name=op.name if own.name is None else own.name if place else f"{own.name}__{asset.name}",
            tags={**(op.tags or {}), **(own.tags or {})} or None,
            description=own.description or op.description,
            pool=own.pool or op.pool,
            backfill_policy=own.backfill_policy or op.backfill_policy,
        )
    return op


def add_to_schema(schema: dict[str, Any]) -> None:
    """Let the JSON Schema of a component know these words."""
    models = (AssetAttributesModel, OpSpec.model())
    _, words = models_json_schema([(model, "validation") for model in models], ref_template="#/$defs/{model}")
    about = {
        TRANSLATION: (AssetAttributesModel, "Dagster's words for how the assets look, or a template that gives them"),
        OP: (OpSpec.model(), "Dagster's words for how the steps run: name, tags, pool, description, backfill_policy"),
    }
    for holder in (schema, schema["$defs"]["JobConfig"]):
        for word, (model, description) in about.items():
            holder["properties"][word] = {"$ref": f"#/$defs/{model.__name__}", "description": description}
    definitions = words["$defs"]
    # Instead of "one of both", so that a wrong key in it is named, and not the whole.
    definitions[AssetAttributesModel.__name__]["type"] = ["object", "string"]
    schema["$defs"].update(definitions)


def reason_of_template(error: Exception) -> str:
    """Why a template or a word of Dagster's cannot be, in a line. Dagster quotes the file around it first, which the place tells."""
    *_, last = str(error).strip().splitlines() or [type(error).__name__]
    kind, colon, reason = last.partition("Error: ")
    return " ".join((reason if colon and kind.isidentifier() else last).split()).rstrip(".")
