"""``checks`` of a metadir: what ``mmmeta status --check``, ``mmmeta run`` and Dagster's asset checks take for unhealthy."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from mmmeta.project.base import Model
from mmmeta.project.fields import Duration, EmptyIsList, Share

ALL = "all"


def _sample(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("needs a number of files, 0 for none, or all")
    if isinstance(value, str) and value != ALL:
        if not value.strip().isdecimal():
            raise ValueError(f"{value!r} is neither a number of files nor all")
        value = int(value)
    if isinstance(value, int) and value < 0:
        raise ValueError("needs a number of files, 0 for none, or all")
    return value


_SAMPLE_SCHEMA = {
    "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^(all|[0-9]+)$|\{\{ *env\."}]
}

Sample = Annotated[int | Literal["all"], BeforeValidator(_sample), WithJsonSchema(_SAMPLE_SCHEMA)]


class ChecksConfig(Model):
    """What counts as unhealthy, for Dagster's asset checks, `mmmeta run` and `mmmeta status --check`; false for none but the
    last."""

    enabled: Annotated[bool, Field(description="whether Dagster's asset checks and the end of a run look")] = True
    severity: Annotated[
        Literal["warn", "error"], Field(description="how an asset check fails; either way the run goes on")
    ] = "warn"
    failures: Annotated[
        Share, Field(description="of the files that a job has tried, the share that may be failed or dead")
    ] = 0.1
    lag: Annotated[
        Duration, Field(description="how long a file may be pending, and a publication here wait to be merged")
    ] = 86_400.0
    downloads: Annotated[
        Sample, Field(description="done files whose documents or rows are looked for each time: a number, or all")
    ] = 20
    several_types: Annotated[
        list[str], EmptyIsList, Field(description="keys that may have numbers and other values")
    ] = []

    @property
    def sample(self) -> int | None:
        """How many done files are looked for; None for all."""
        return None if self.downloads == ALL else int(self.downloads)


def _switched(value: Any) -> Any:
    """``checks: false`` is a short ``checks: {enabled: false}``; what is left empty is all by default."""
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):  # out of an environment variable
        value = value.strip().lower() == "true"
    if isinstance(value, bool):
        return {"enabled": value}
    return {} if value is None else value


Checks = Annotated[ChecksConfig, BeforeValidator(_switched)]
