"""The kinds of values that only Dagster reads: schedules, owners, tags, names of assets, each with its check.

The rules are Dagster's own (1.13), so that a mistake is told with its line and before Dagster is started.
"""

from __future__ import annotations

import re
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from mmmeta.project.dagster.automation import parse_automation
from mmmeta.project.dagster.cron import check_cron
from mmmeta.project.fields import TEXT_SCHEMA

MOST_KINDS = 3
"""Kinds of one asset that Dagster takes."""

_TAG_RULE = "use up to 63 letters from a to z, digits, _, - and ."
_GROUP = re.compile(r"[A-Za-z0-9_]+")
_ASSET_PATH = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_KIND = re.compile(r"[A-Za-z0-9_.-]{1,63}")
_OWNER = re.compile(r"team:.+|[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}")
_TAG_KEY = re.compile(r"(dagster/kind/|[A-Za-z0-9_.-]{1,63}/)?[A-Za-z0-9_.-]{1,63}")
_TAG_TEXT = re.compile(r"[A-Za-z0-9_.-]{0,63}")


def _cron(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError('needs a schedule in quotes: "*/15 * * * *"')
    return check_cron(value)


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # not in the tz database, or what could climb out of its folder
        raise ValueError(f"{name!r} is no time zone. Write Europe/Berlin or UTC") from None
    return name


def _tag(value: object) -> object:
    """Dagster's tags are text; nobody quotes a number in YAML."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _tag_key(text: str) -> str:
    if not _TAG_KEY.fullmatch(text):
        raise ValueError(f"{text!r} cannot be a Dagster tag: {_TAG_RULE}, and one / after a namespace")
    return text


def _tag_text(text: str) -> str:
    if not _TAG_TEXT.fullmatch(text):
        fixed = re.sub(r"[^A-Za-z0-9_.-]+", "_", text)[:63]
        raise ValueError(f"{text!r} cannot be the value of a Dagster tag: {_TAG_RULE}: {fixed}")
    return text


def _automation(text: str) -> str:
    parse_automation(text)
    return text


def _owner(text: str) -> str:
    if not _OWNER.fullmatch(text):
        raise ValueError(f"{text!r} is no owner. Write a mail address or team:name")
    return text


def _group(text: str) -> str:
    if not _GROUP.fullmatch(text):
        raise ValueError(f"{text!r} is no group: letters, digits and _ only")
    return text


def _asset_path(text: str) -> str:
    if not _ASSET_PATH.fullmatch(text):
        raise ValueError(f"{text!r} is no asset key: letters, digits, _, - and . with / between the parts")
    return text


def _kinds(kinds: list[str]) -> list[str]:
    for kind in kinds:
        if not _KIND.fullmatch(kind):
            raise ValueError(f"{kind!r} is no kind: letters, digits, _, - and . only, as in python or duckdb")
    if len(kinds) > MOST_KINDS:
        raise ValueError(f"{len(kinds)} kinds are too many, Dagster takes {MOST_KINDS}")
    return kinds


_TAG_SCHEMA = {"anyOf": [{"type": "string"}, {"type": "number"}]}

Cron = Annotated[str, BeforeValidator(_cron), TEXT_SCHEMA]
TimeZone = Annotated[str, AfterValidator(_timezone)]
Group = Annotated[str, AfterValidator(_group)]
AssetPath = Annotated[str, AfterValidator(_asset_path)]
Kinds = Annotated[list[str], AfterValidator(_kinds)]
Owner = Annotated[str, AfterValidator(_owner)]
TagKey = Annotated[str, AfterValidator(_tag_key)]
TagText = Annotated[str, BeforeValidator(_tag), AfterValidator(_tag_text), WithJsonSchema(_TAG_SCHEMA)]
AutomationText = Annotated[str, AfterValidator(_automation), TEXT_SCHEMA]
