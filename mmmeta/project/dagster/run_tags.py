"""``run_tags``: what Dagster's launcher, queue and monitoring read of a run. Wrong ones it takes without a word, so they are
checked here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from mmmeta.config.validation import InnerError
from mmmeta.project.dagster.fields import TagKey

MAX_RUNTIME = "dagster/max_runtime"
PRIORITY = "dagster/priority"
KUBERNETES = "dagster-k8s/config"

_OURS = ("mmmeta/", ".")
_DAGSTERS = ("dagster/run_key", "dagster/partition", "dagster/asset_partition_range", "dagster/backfill")
"""Beginnings of tags by which mmmeta or Dagster tell runs apart."""


def run_tag_text(value: object) -> str:
    """A value as Dagster keeps it: text as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _checked(tags: dict[str, Any]) -> dict[str, Any]:
    for key, value in tags.items():
        if key.startswith(_OURS) or key.startswith(_DAGSTERS):
            raise InnerError(f"the tag {key!r} is set by mmmeta or Dagster itself. Leave it out", (key,))
        try:
            text = None if value is None else run_tag_text(value)
        except (TypeError, ValueError):
            raise InnerError("needs text, a number, a list or a mapping. Quote a date", (key,)) from None
        if text is None:
            raise InnerError("is empty. Give it a value, or leave the tag out", (key,))
        if key == MAX_RUNTIME and not _is_number(text):
            raise InnerError(f"{value!r} is no number of seconds. Write it as 3600", (key,))
        if key == PRIORITY and not _is_integer(text):
            raise InnerError(f"{value!r} is no whole number. The larger it is, the sooner: 5, or -1", (key,))
        if key == KUBERNETES and not isinstance(_read(value), Mapping):
            raise InnerError(
                "needs a mapping: {container_config: {resources: {limits: {memory: 2Gi}}}}",
                (key,),
            )
    return tags


def _is_number(text: str) -> bool:
    try:
        return 0 < float(text) < float("inf")
    except ValueError:
        return False


def _is_integer(text: str) -> bool:
    try:
        int(text)
    except ValueError:
        return False
    return True


def _read(value: Any) -> Any:
    """What a text of JSON says, as an environment variable may hold it."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return None


RunTags = Annotated[
    dict[TagKey, Any],
    BeforeValidator(lambda value: {} if value is None else value),
    AfterValidator(_checked),
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": {"type": ["string", "number", "boolean", "object", "array"]},
        }
    ),
]
