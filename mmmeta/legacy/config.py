"""config.yml of mmmeta 0.3 and 0.4, and the one of today that says the same. 0.1 and 0.2 had none."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from mmmeta.config.model import Config
from mmmeta.config.yaml_file import read_yaml
from mmmeta.errors import ConfigError
from mmmeta.values import SEPARATOR

UNIQUE = "content_hash"
"""What identified files unless the configuration said otherwise."""

_HEAD = "# Made by `mmmeta migrate` of the config.yml of an older mmmeta.\n"


@dataclass
class OldConfig:
    """What an old config.yml said.

    Attributes:
        unique: the key that identifies a file.
        text: config.yml of today; None where there was none.
        notes: what could not be taken over, in sentences.
    """

    unique: str = UNIQUE
    text: str | None = None
    notes: list[str] = field(default_factory=list)


def read_config(path: Path) -> OldConfig:
    """Read an old config.yml; one that is not there means what held by default.

    Raises:
        ConfigError: it cannot be read, or is no YAML: nobody can tell what identifies files then.
    """
    try:
        document = read_yaml(path, ConfigError)
    except FileNotFoundError:
        return OldConfig()
    said = document.value if document.value is not None else {}
    metadata = said.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise ConfigError(
            "needs keys and values below it, one per line", path=path, line=document.line(("metadata",)), key="metadata"
        )
    config = OldConfig()
    kept: dict[str, Any] = {}
    unique = metadata.get("unique")
    if unique is not None and (not isinstance(unique, str) or not unique):
        raise ConfigError(
            "needs a metadata key", path=path, line=document.line(("metadata", "unique")), key="metadata.unique"
        )
    config.unique = unique or UNIQUE
    _take(config, kept, "unique", unique)
    _take(config, kept, "file_name", metadata.get("file_name"))
    _take(config, kept, "include", _include(metadata.get("include")))
    _take(config, kept, "required", _list(metadata.get("required")))
    result: dict[str, Any] = {"metadata": kept} if kept else {}
    for section in ("public", "remote"):
        templates = said.get(section)
        for name, template in templates.items() if isinstance(templates, dict) else ():
            remote = {**result.get("remote", {}), str(name): template}
            if _is_valid({"remote": remote}):
                result["remote"] = remote
            else:
                config.notes.append(f"{section}.{name}: {template!r} is no URL template of today")
    unknown = [f"metadata.{key}" for key in metadata if key not in ("unique", "file_name", "include", "required")]
    unknown += [str(key) for key in said if key not in ("metadata", "public", "remote")]
    if unknown:
        config.notes.append(f"without a meaning today: {', '.join(map(str, unknown))}")
    config.text = _HEAD + (yaml.safe_dump(result, sort_keys=False, allow_unicode=True) if result else "")
    return config


def _take(config: OldConfig, kept: dict[str, Any], key: str, value: Any) -> None:
    if value is None:
        return
    if _is_valid({"metadata": {**kept, key: value}}):
        kept[key] = value
    else:
        config.notes.append(f"metadata.{key}: {value!r:.80} is not possible today")


def _list(value: Any) -> list[Any] | None:
    return [value] if isinstance(value, str) else value


def _include(value: Any) -> Any:
    """The names with those that today's generate gives: a hyphen is kept, where 0.3 and 0.4 made an underscore of it."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        return _list(value)
    names: dict[str, None] = {}
    for name in value:
        parts = [part[:1] + part[1:].replace("_", "-") for part in name.split(SEPARATOR)]
        names |= dict.fromkeys((name, SEPARATOR.join(parts)))
    return list(names)


def _is_valid(said: dict[str, Any]) -> bool:
    try:
        Config.model_validate(said)
    except ValidationError:
        return False
    return True
