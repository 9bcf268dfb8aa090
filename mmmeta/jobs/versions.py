"""When a done file comes again: what a job's definition compares, and what of it can never happen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmmeta.catalog.catalog import Catalog, FileRow
from mmmeta.files.claim import version_of
from mmmeta.filters import All, Compare
from mmmeta.project.job import JobConfig
from mmmeta.state.ledger.rules import CONTENT, METADATA, NEVER, JobRules


def rules_of(config: JobConfig, content_key: str) -> JobRules:
    """What the ledger keeps of a job's definition.

    Args:
        content_key: config.yml's ``metadata.content``.
    """
    rerun_on = config.rerun_on if isinstance(config.rerun_on, str) else tuple(config.rerun_on)
    # The document is written, too.
    document = config.reruns_by_default and config.load is not None and config.load.content is not None
    if document and not isinstance(rerun_on, str):
        rerun_on = tuple(sorted({*rerun_on, content_key}))
    return JobRules(
        name=config.name,
        condition=config.condition,
        rerun_on=rerun_on,
        content_key=content_key,
        attempts=config.attempts,
        backoff=config.backoff,
        order_by=config.order_by,
        fingerprint=config.fingerprint(),
        on_delete=config.on_delete,
        index=config.index,
        once_per=config.once_per,
        falls_back=rerun_on == CONTENT or (document and rerun_on != METADATA),
    )


def version_name(rules: JobRules, values: Mapping[str, Any], fingerprint: str) -> str:
    """The name of a file's version in a receipt; see ``version_of``."""
    return version_of(rules.rerun_on, rules.content_key, values, fingerprint, falls_back=rules.falls_back)


def same_version(rules: JobRules, one: FileRow, other: FileRow) -> bool:
    """Whether a job takes what two rows say for one version of a file."""
    names = [
        version_name(rules, {**row.remote, **row.local}, bytes(row.system["__fingerprint"] or b"").hex())
        for row in (one, other)
    ]
    return names[0] == names[1]


def never_again(rules: JobRules, unique: str) -> str | None:
    """Why no change of a file makes it due again once it is done, in a sentence; None where one does.

    Args:
        unique: the key that identifies a file.
    """
    if rules.rerun_on == NEVER:
        return "whatever changes, as `rerun_on: never` says"
    if rules.rerun_on == METADATA or {*rules.version_keys} - {unique}:
        return None
    if rules.rerun_on == CONTENT:
        return f"{unique!r} identifies a file, so that another document is another file"
    return f"it writes {unique!r} alone, which identifies a file"


def again_when(config: JobConfig, rules: JobRules, unique: str, values: Mapping[str, Any]) -> str:
    """When a file that is done comes again, to end a sentence: ``its content changes``."""
    never = never_again(rules, unique)
    if never is not None:
        return f"a person says so: {never}"
    if rules.falls_back and values.get(rules.content_key) is None:
        return f"its metadata changes, for it has no {rules.content_key}"
    return config.rerun_words


def without_content(rules: JobRules, catalog: Catalog) -> int:
    """How many of the files that a job means come again with any change of their metadata, for they have no content key."""
    if not rules.falls_back or rules.content_key == catalog.unique:
        return 0
    return catalog.count(All((rules.condition, Compare(rules.content_key, "=", None))))
