"""What all models of the project file have in common."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Unknown keys are errors, nothing changes afterwards."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    not_in_file: ClassVar[frozenset[str]] = frozenset()
