"""``partitions`` of a job: how Dagster may divide its files, so that a person can ask for a part of them.

They divide what is shown and what a backfill takes, never what the job does: the ledger counts each file once, whichever
run did it. Here is what can be said, and checked, without Dagster.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from mmmeta.config.validation import InnerError
from mmmeta.project.base import Model
from mmmeta.project.dagster.fields import TimeZone
from mmmeta.project.fields import Count

EVERY = ("hour", "day", "week", "month")

AT_MOST = 1_000
"""Partitions of a key's values, unless a job says otherwise: a key with more values is not a coarse one."""

RECOMMENDED = 100_000
"""Partitions of one asset that Dagster recommends not to exceed."""


def _key(key: object) -> object:
    if isinstance(key, str) and not key.strip():
        raise ValueError("needs a metadata key: retrieved_at, publisher:name")
    if isinstance(key, str) and key.startswith("__"):
        raise ValueError(f"{key!r}: names that begin with two underscores belong to mmmeta, not to the metadata")
    return key


def _start(value: object) -> object:
    """A day; YAML gives a date, an environment variable a text."""
    if isinstance(value, datetime) or not isinstance(value, str | date):
        raise ValueError("needs a day: 2024-01-01")
    if isinstance(value, str):
        try:
            value = datetime.strptime(value.strip(), "%Y-%m-%d").date()
        except ValueError:
            raise ValueError(f"{value!r} is no day. Write it as 2024-01-01") from None
    return value


def _possible(count: int) -> int:
    if count > RECOMMENDED:
        raise ValueError(f"Dagster recommends {RECOMMENDED:,} partitions at most. Choose a coarser key, or a time")
    return count


class PartitionsConfig(Model):
    """Windows of time over a date key, or one partition for each value of a coarse key."""

    by: Annotated[str, BeforeValidator(_key), Field(description="metadata key: a date's, or a coarse one's")]
    every: Annotated[
        Literal["hour", "day", "week", "month"] | None,
        Field(description="windows of time over a date key; weeks begin on Monday"),
    ] = None
    start: Annotated[
        date | None,
        BeforeValidator(_start),
        WithJsonSchema({"type": "string", "minLength": 1}),
        Field(description="a day of the first window: 2024-01-01; files before it belong to no partition"),
    ] = None
    timezone: Annotated[TimeZone | None, Field(description="where windows begin at midnight; UTC unless given")] = None
    at_most: Annotated[
        Count | None, AfterValidator(_possible), Field(description="partitions of a coarse key's values at most")
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _said(cls, value: Any) -> Any:
        """What is left empty is not said."""
        if isinstance(value, dict):
            return {name: entry for name, entry in value.items() if entry is not None or name == "by"}
        return value

    @model_validator(mode="after")
    def _check(self) -> PartitionsConfig:
        if self.every is None:
            for word in ("start", "timezone"):
                if getattr(self, word) is not None:
                    reason = f"goes with windows of time. Say which: every: day (or {', '.join(EVERY)})"
                    raise InnerError(reason, (word,))
        elif self.start is None:
            raise ValueError(f"every: {self.every} needs to know where to begin. Add start: 2024-01-01")
        elif self.at_most is not None:
            reason = "is for the values of a coarse key, without every:. Windows of time are bounded by start:"
            raise InnerError(reason, ("at_most",))
        return self

    @property
    def first(self) -> date:
        """The day on which the first window begins: ``start``, or the first of its week or month."""
        assert self.start is not None
        if self.every == "month":
            return self.start.replace(day=1)
        return self.start - timedelta(days=self.start.weekday()) if self.every == "week" else self.start

    @property
    def zone(self) -> str:
        """The time zone in which windows begin."""
        return self.timezone or "UTC"

    @property
    def limit(self) -> int:
        """How many values of a coarse key have a partition."""
        return self.at_most or AT_MOST

    @property
    def words(self) -> str:
        """How the files are divided: ``by publisher:name, 1,000 at most``."""
        if self.every is None:
            return f"by {self.by}, {self.limit:,} at most"
        return f"by {self.by}, every {self.every} since {self.start}, {self.zone}"
