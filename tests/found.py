"""What find() gives, in short."""

from __future__ import annotations

from typing import Any

from mmmeta import Metadir


def names(metadir: Metadir, *where: dict[str, Any], **filters: Any) -> str:
    """The unique values of what find() gives, joined, in its order."""
    return "".join(file.unique_value for file in metadir.files.find(*where, **filters))


def found(metadir: Metadir, value: Any, *, key: str = "x") -> str:
    """The unique values that ``{key: value}`` finds, sorted and joined."""
    return "".join(sorted(names(metadir, {key: value})))
