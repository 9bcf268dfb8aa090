"""What the ledger needs to know of a job: which files it means, what makes one due again, and how often it is tried."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import datetime

from mmmeta.filters import Condition, condition_keys, from_json, to_json

CONTENT = "content"
METADATA = "metadata"
NEVER = "never"
"""What ``rerun_on`` says where it names no keys."""

IGNORE = "ignore"
ACTION = "action"
"""What ``on_delete`` says."""

DELETED = "Deleted"
LEFT = "LeftSelection"
RETRACTED = "Retracted"
DISMISSED = "Dismissed"
SAME = "SameDocument"
"""Why files are set aside, in place of an error's type."""

REASONS = {
    DELETED: "the file was deleted before it was processed",
    LEFT: "left the selection when the job's definition changed",
    RETRACTED: "the file was deleted, and what the job had done with it was undone",
    DISMISSED: "failed for the last time, and a person has dismissed it; another version of it comes as any other",
    SAME: "another file with the same value of `once_per` is done instead",
}

POSTPONED = "Postponed"
"""Error type of files that are due later through no fault of theirs, with none of their attempts used."""

WORKER_DIED = "WorkerDied"
LEASE_ENDED = "LeaseEnded"
INTERRUPTED = "Interrupted"
SUSPECTS = (WORKER_DIED, LEASE_ENDED, INTERRUPTED)
"""Error types of files whose worker did not say how they ended: it died, fell silent, or was ended from outside. They may have
been the reason, so each comes alone, after all others."""

STATUSES = ("pending", "claimed", "done", "failed", "dead", "skipped")

LONGEST_BACKOFF = 86_400.0
"""Seconds; a file that failed is due again after a day at the latest, give or take the jitter."""

JITTER = 0.25
"""By how much of itself a backoff is longer or shorter, by chance."""

HISTORY_DAYS = 90
"""How long attempts are kept; longer costs space in the state db, about 200 bytes each."""

HISTORY_KEPT = 100_000
"""So many of the latest attempts are kept however old they are: a clock that is years ahead must not delete them."""


@dataclass(frozen=True)
class JobRules:
    """A job's definition, as far as the ledger depends on it.

    Attributes:
        rerun_on: ``"content"``, ``"metadata"``, ``"never"``, or the keys whose change makes a file pending again.
        content_key: config.yml's ``metadata.content``.
        attempts: tries before a file is dead.
        backoff: seconds before the second try; doubled for each further one, with jitter.
        on_delete: ``"ignore"``, or ``"action"``: a file that is deleted after it was done is handed to the action.
        fingerprint: of the whole definition, the action included.
        index: make indexes over the keys that the condition selects on.
        falls_back: where the content key is compared, a file that has none is told apart by its metadata: nobody knows
            when its document changes. Not so where people named the keys, nor in what was recorded before there was this.
        once_per: the key by whose value files are one document, of which one is done; None where each is its own.
    """

    name: str
    condition: Condition
    rerun_on: str | tuple[str, ...]
    content_key: str
    attempts: int
    backoff: float
    order_by: str | None
    fingerprint: str
    on_delete: str = IGNORE
    index: bool = True
    falls_back: bool = False
    once_per: str | None = None

    @property
    def selection(self) -> str:
        """Canonical JSON of the condition."""
        return json.dumps(to_json(self.condition), sort_keys=True)

    @property
    def rules(self) -> str:
        """Canonical JSON of what else the ledger depends on."""
        rerun_on = self.rerun_on if isinstance(self.rerun_on, str) else list(self.rerun_on)
        # What is not said adds nothing, so that older jobs stay what they were.
        once_per = {} if self.once_per is None else {"once_per": self.once_per}
        return json.dumps(
            {
                **once_per,
                "rerun_on": rerun_on,
                "content_key": self.content_key,
                "attempts": self.attempts,
                "backoff": self.backoff,
                "order_by": self.order_by,
                "on_delete": self.on_delete,
                "falls_back": self.falls_back,
            },
            sort_keys=True,
        )

    @property
    def descending(self) -> bool:
        """Whether the largest value of ``order_by`` comes first."""
        return self.order_by is not None and self.order_by.startswith("-")

    @property
    def version_keys(self) -> tuple[str, ...]:
        """The keys that ``rerun_on`` compares; none where it compares all metadata, or nothing."""
        if self.rerun_on == CONTENT:
            return (self.content_key,)
        return () if isinstance(self.rerun_on, str) else tuple(sorted(self.rerun_on))

    @property
    def asked_keys(self) -> frozenset[str]:
        """All keys whose value the ledger's part of the definition looks at."""
        keys = {*condition_keys(self.condition), *self.version_keys}
        if self.order_by is not None:
            keys.add(self.order_by.removeprefix("-"))
        if self.once_per is not None:
            keys.add(self.once_per)
        return frozenset(keys)

    def means_as(self, other: JobRules) -> bool:
        """Whether files are selected, and become due, as under ``other``."""
        return (self.selection, self.rules) == (other.selection, other.rules)

    def compares_as(self, other: JobRules) -> bool:
        """Whether versions of files are told apart as under ``other``."""
        return (self.rerun_on, self.content_key, self.falls_back) == (
            other.rerun_on,
            other.content_key,
            other.falls_back,
        )

    def retry_after(self, attempt: int) -> float:
        """Seconds from the failure of this attempt (from 1) until the file is due again."""
        doubled = self.backoff * 2.0 ** min(attempt - 1, 60)
        return min(doubled, LONGEST_BACKOFF) * random.uniform(1 - JITTER, 1 + JITTER)


def latest_due(now: datetime) -> float:
    """Seconds since 1970; a file that is due later than this failed under a clock that was ahead, and is due at once."""
    return now.timestamp() + LONGEST_BACKOFF * (1 + JITTER)


def wait_beyond(times: int) -> float:
    """Seconds that a postponed file waits longer than what it waits for, which has refused it so often in a row: one that is
    always refused must not come before all others each time."""
    return min(2.0 ** min(times, 60) - 1, LONGEST_BACKOFF)


def rules_from(name: str, selection: str, rules: str, fingerprint: str) -> JobRules:
    """The rules of a job as its last evaluation left them in the table ``jobs``."""
    values = json.loads(rules)
    rerun_on = values["rerun_on"]
    return JobRules(
        name=name,
        condition=from_json(json.loads(selection)),
        rerun_on=rerun_on if isinstance(rerun_on, str) else tuple(rerun_on),
        content_key=values["content_key"],
        attempts=values["attempts"],
        backoff=values["backoff"],
        order_by=values["order_by"],
        fingerprint=fingerprint,
        on_delete=values["on_delete"],
        falls_back=values.get("falls_back", False),
        once_per=values.get("once_per"),
    )
