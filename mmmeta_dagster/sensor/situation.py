"""What the sensor knows when it decides: plain values, gathered by ``observe``, judged by ``decision``.

All times are aware UTC.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from mmmeta.clock import from_text, to_text
from mmmeta.state.status import Status
from mmmeta.store.remote import Publication
from mmmeta_dagster.runs import RunView

_MOVES_BY_ITSELF = (
    *("state_id", "state_file", "metadata_file", "written_at"),
    *("lease_until", "heartbeat", "run_id", "evaluated_at", "due"),
)
"""What status.json says of itself, of files, leases, signs of life, looks and waiting: it changes without anything being
achieved. What is not named here is a part of ``Situation.mark``, but for ``claimed``: whether files wait or are in somebody's
hands, they are as far as they were."""


@dataclass(frozen=True)
class JobWanted:
    """A job as the project file defines it now: its fingerprint, and whether files enter it merely as time passes."""

    fingerprint: str
    grows_with_time: bool = False


@dataclass(frozen=True)
class SharedJob:
    """A job whose work several runs may share.

    Attributes:
        shards: how many at the same time, beside the import.
        batch: files that one of them claims at once.
        after: the jobs that it hangs on: before they are through, none of its files is to be done.
        is_apart: whether its runs have tags of their own, so that no run helps with it and with others.
    """

    shards: int
    batch: int
    after: frozenset[str] = frozenset()
    is_apart: bool = False


@dataclass(frozen=True)
class Situation:
    """All that a decision rests on.

    Attributes:
        metadir: its name.
        path: its base path.
        published: raw text of the store's ``remote_last_updated``; None where there is none.
        store_problem: why ``published`` could not be read, None where nothing is wrong.
        merged: what was merged last and where the jobs stand, as status.json has it, or the database that machines share;
            None where there is none that can be read.
        state_problem: what happened to the state db that status.json speaks of; None where nothing did.
        not_whole: why a run would fail for want of a whole metadir, None where nothing speaks against it.
        is_gone: whether the metadir's folder is not there at all.
        misplaced: that a metadir lies beside the place where it belongs, None where nothing is seen of that.
        announced: the revision that the store announces; None where it announces none.
        metadata_file: which version of meta.db is there (size and times); None where there is none.
        seen: a mark of the metadir's files (sizes and times), to tell whether they changed since a run saw them.
        jobs: the jobs of the project file.
        somebody_works: whether any worker of the state is known to live.
        latest_beat: the last sign of life of any run, None where there is none.
        runs: the latest runs of ``<metadir>_import``, newest first.
        helpers: the latest runs of ``<metadir>_work``, newest first.
        shared: the jobs whose work they may share.
        interval: seconds between two looks; the first pause between attempts.
        attempts: how many attempts one situation gets.
        loaded: when this code was loaded; loading it anew is a change of the situation.
        remote: what the store at the remote says; None where nobody looks, or where it cannot be read. What was not
            synced yet changes nothing here, so it is no part of ``mark``.
        remote_problem: why ``remote`` could not be read, None where nothing is wrong.
        pulls: whether a run can bring what the remote has published.
        never_pulled: that nothing asks for a run that pulls, in sentences; None where something does, or no run can pull.
        is_stale: whether it is the age of the metadir alone that ``not_whole`` speaks of.
        is_shared: whether the state is in a database that machines share, so that runs may work where the sensor does not
            look.
        is_elsewhere: whether nothing can be said of the copies that runs have but what they have merged, which ``published``
            is then.
    """

    metadir: str
    published: str | None
    merged: Status | None
    path: str = ""
    store_problem: str | None = None
    state_problem: str | None = None
    not_whole: str | None = None
    is_gone: bool = False
    misplaced: str | None = None
    announced: int | None = None
    metadata_file: str | None = None
    seen: str = ""
    jobs: Mapping[str, JobWanted] = field(default_factory=dict)
    somebody_works: bool = False
    latest_beat: datetime | None = None
    runs: Sequence[RunView] = ()
    helpers: Sequence[RunView] = ()
    shared: Mapping[str, SharedJob] = field(default_factory=dict)
    interval: float = 30
    attempts: int = 20
    loaded: datetime | None = None
    remote: Publication | None = None
    remote_problem: str | None = None
    pulls: bool = False
    never_pulled: str | None = None
    is_stale: bool = False
    is_shared: bool = False
    is_elsewhere: bool = False

    @property
    def on_its_way(self) -> str | None:
        """That the metadata which the store announces is not here yet, as a part of a sentence; None where it may be.

        A sync brings the store first, and the old meta.db stays until the new one is whole. As long as it is the file
        that the last update read, another update could not find more.
        """
        merged = self.merged
        if merged is None or merged.remote_last_updated == self.published or merged.metadata_file is None:
            return None
        if self.announced is None or merged.revision is None or self.announced <= merged.revision:
            return None
        if merged.metadata_file != self.metadata_file:
            return None
        return f"the store announces revision {self.announced}, meta.db is still at {merged.revision}; a sync may be under way"

    @property
    def came_after_its_store(self) -> bool:
        """Whether meta.db is another file than the last update read, and the store spoke of a revision that was not it.

        A metadata db made anew begins at 1: an update that met its store beside the old file took that for merged.
        """
        merged = self.merged
        if merged is None or merged.metadata_file is None or self.announced in (None, merged.revision):
            return False
        return self.metadata_file not in (None, merged.metadata_file)

    @property
    def mark(self) -> str:
        """Sixteen letters that change when anything does that the next attempt could depend on.

        Of status.json that is what a run changes by getting on. Of the store and of meta.db it is what they are while there
        is something to merge: what arrives ends giving up, and a store that cannot be read for a moment does not.
        """
        merged = self.merged
        is_news = self.published is not None and (merged is None or merged.remote_last_updated != self.published)
        wanted = {name: job.fingerprint for name, job in self.jobs.items()}
        achieved = None if merged is None else _achieved(merged)
        parts = [self.metadir, achieved, wanted, self.state_problem, self.loaded]
        parts.append(self.published if is_news else None)
        parts.append(self.metadata_file if is_news or self.came_after_its_store else None)
        text = json.dumps(parts, sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _achieved(status: Status) -> dict[str, Any]:
    """What status.json says without what moves by itself."""
    values = asdict(status)
    for job in values["jobs"].values():
        job["pending"] += job.pop("claimed")
    for part in (values, *values["jobs"].values()):
        for name in _MOVES_BY_ITSELF:
            part.pop(name, None)
    return values


@dataclass(frozen=True)
class PullAsked:
    """The pull that was asked for last.

    Attributes:
        remote: mark of the publication that it was for.
        copy: ``Situation.seen`` at that time.
        attempt: how many times a pull was asked for that left the copy like this.
        asked_at: when, the last time; ``run_key`` of that request.
        done: whether that run has succeeded.
    """

    remote: str
    copy: str
    attempt: int
    asked_at: datetime
    run_key: str
    done: bool = False


@dataclass(frozen=True)
class Cursor:
    """What the sensor remembers from tick to tick.

    Attributes:
        situation: mark of the situation that was last asked for.
        attempt: how many times it was asked for.
        asked_at: when, the last time; ``run_key`` of that request.
        asks: all asks together, since somebody has reset the cursor last.
        gave_up: whether giving up on this situation was announced.
        told: name of an asset → mark of how it stood when Dagster was told last of what was done outside of it.
        reported: raw text of the publication that was last reported to Dagster as news of the metadata db.
        pull: the pull that was asked for last; None where there is nothing to remember of it.
    """

    situation: str = ""
    attempt: int = 0
    asked_at: datetime | None = None
    run_key: str = ""
    asks: int = 0
    gave_up: bool = False
    reported: str = ""
    told: Mapping[str, str] = field(default_factory=dict)
    pull: PullAsked | None = None

    def dump(self) -> str:
        """The text that Dagster keeps."""
        values = {name: value for name, value in asdict(self).items() if value}
        return json.dumps(values, default=to_text)

    def rested(self) -> Cursor:
        """Without what was asked for over what lies here: it was achieved."""
        return Cursor(asks=self.asks, reported=self.reported, told=self.told, pull=self.pull)

    @classmethod
    def parse(cls, text: str | None) -> Cursor:
        """A cursor from its text; a new one where there is none, or where this version cannot read it."""
        try:
            values = json.loads(text or "{}")
            asked_at, pull = values.pop("asked_at", None), values.pop("pull", None)
            return cls(
                **values,
                asked_at=from_text(asked_at) if asked_at else None,
                pull=PullAsked(**{**pull, "asked_at": from_text(pull["asked_at"])}) if pull else None,
            )
        except (KeyError, ValueError, TypeError, AttributeError):
            return cls()
