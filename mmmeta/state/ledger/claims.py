"""How claimed files end, and what follows from it: the part of every ledger that workers use and that needs no SQL.

A claim is a lease with a token that grows; settling a claim whose token another has raised since changes nothing.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from mmmeta.clock import to_text
from mmmeta.state.ledger.outcomes import Ahead, Candidate, Claim, Holder, Outcome, Place, Postponed, Settled
from mmmeta.state.ledger.places import Kept, Places
from mmmeta.state.ledger.rules import ACTION, INTERRUPTED, LONGEST_BACKOFF, REASONS, RETRACTED, JobRules, wait_beyond
from mmmeta.state.ledger.store import Current, Ledger, Offered


class Held(NamedTuple):
    """A claimed file and its present version.

    Attributes:
        since: when it was claimed.
        current: whether the version that was claimed is still the one that counts.
    """

    token: int
    since: str
    current: bool
    deleted: bool

    def changed(self, claim: Claim) -> bool:
        """Whether the file is another than the one that was claimed: changed, deleted or back."""
        return not self.current or bool(self.deleted) != claim.retract


class Ending(NamedTuple):
    """What is written into the row of a claimed file that has ended.

    Attributes:
        basis: what it counts as done with: the version that was ``tried``, as before (``kept``), or ``none``.
        placed: whether the four columns of its place are written.
        untried: 1 where its attempt does not count, else 0.
    """

    status: str
    due: float | None
    error_type: str | None
    error_message: str | None
    error_lines: str | None
    bytes: int | None
    basis: str
    retract: bool
    placed: bool
    target: int | None
    place: str | None
    mark: str | None
    replaced_by: str | None
    file: str
    token: int
    untried: int


class Try(NamedTuple):
    """One row of the history."""

    file: str
    token: int
    started_at: str | None
    status: str
    error_type: str | None
    error_message: str | None
    bytes: int | None


class Offers(Protocol):
    """What becomes of a job's rows when files do, inside the caller's transaction."""

    def first(self, candidates: Iterable[Candidate]) -> Offered:
        """Take in candidates of a job that has no rows yet; they need no looking at."""

    def take(self, candidates: Iterable[Candidate], *, whole: bool, redefined: bool) -> Offered:
        """Take in candidates of a job that has rows.

        Args:
            whole: what waits and is not among those that are meant leaves the selection.
            redefined: look at all rows, for the rules are others.
        """

    def redefine(self, known: JobRules, current: Current) -> None:
        """Write the versions of all files, or their priorities, as changed rules see them."""

    def look_again(self, files: Sequence[str]) -> None:
        """Look at files that were claimed until now."""

    def settled(self, files: Sequence[str]) -> None:
        """Files have left a worker's hands: look at those that are the same document, if the job asks for that."""

    def regroup(self) -> None:
        """A person has decided something: look at all files that are the same document."""


class Claims(Ledger):
    """The decisions of a job's ledger about claimed files.

    Args:
        now: aware UTC.
    """

    _offers: Offers
    _places: Places

    def __init__(self, rules: JobRules, now: datetime) -> None:
        self.rules = rules
        self._now = now
        self._stamp = to_text(now)

    def reserve(self, places: Mapping[str, Place]) -> dict[str, list[Holder]]:
        return self._places.reserve(places)

    def settle(self, outcomes: Sequence[Outcome], *, run_id: str | None, worker: str) -> list[Settled]:
        held = self._held([outcome.claim.file for outcome in outcomes])
        settled: list[Settled] = []
        for outcome in outcomes:
            claim = held.get(outcome.claim.file)
            if claim is None or claim.token != outcome.claim.token:
                settled.append(Settled(outcome, "lost"))
                self._places.lost(outcome, undo=self.rules.on_delete == ACTION)
            elif outcome.ahead is None:
                settled.append(Settled(outcome, self._status_after(outcome)))
            elif self._is_received(outcome.claim, outcome.ahead):
                done = replace(outcome, error_type=None, error_message=None, error_lines=None)
                settled.append(Settled(done, self._status_after(done), behind=True))
            else:
                settled.append(Settled(outcome, "pending", behind=True))
        self._absolve([entry.outcome.claim for entry in settled if entry.status == "lost"])
        untried = {entry.outcome.claim.file: entry.outcome.claim for entry in settled if entry.status == "pending"}
        ours = [entry for entry in settled if entry.status not in ("lost", "pending")]
        self._places.ended(entry.outcome.claim.file for entry in ours if not entry.outcome.claim.retract)
        self._write_outcomes(ours)
        for entry in ours:
            if entry.outcome.vacant is not None:
                self._places.let_go(entry.outcome.claim.file, entry.outcome.vacant)
        self.release(list(untried.values()))
        self._raise_tokens([entry for entry in settled if entry.behind])
        changed = [entry.outcome.claim for entry in ours if held[entry.outcome.claim.file].changed(entry.outcome.claim)]
        if changed:
            self._offers.look_again([claim.file for claim in changed])
            now = self._statuses([claim.file for claim in changed])
            settled = [
                entry
                if entry.status == "lost"
                else replace(entry, status=now.get(entry.outcome.claim.file, entry.status))
                for entry in settled
            ]
        self._offers.settled([entry.outcome.claim.file for entry in ours])
        since = {file: claim.since for file, claim in held.items()}
        tries = [
            _try(entry, since)
            for entry in settled
            if entry.outcome.claim.file not in untried
            if entry.outcome.postponed is None or entry.outcome.postponed.asked
        ]
        self._note_attempts(tries, run_id, worker)
        return settled

    def release(self, claims: Sequence[Claim]) -> None:
        ours = self._give_back_claims(claims)
        self._places.ended(ours)
        self._offers.look_again(ours)

    def break_off(self, claims: Sequence[Claim]) -> None:
        # The first time nobody knows whether it was the file; the second time it was alone in its worker's hands.
        message = "the run was ended from outside while it was at this file"
        self._take(self._suspects_among(claims), INTERRUPTED, message)

    def _taken_among(self, files: Mapping[str, Place | None]) -> set[str]:
        """Those of these files whose place another has, or one that was named before; the others get theirs."""
        taken: set[str] = set()
        given: set[str] = set()
        for file, place in files.items():
            if place is None or place.name == file:  # its own name is nobody else's
                continue
            if place.key in given or self.reserve({file: place}):
                taken.add(file)
            given.add(place.key)
        return taken

    def _take_from(self, claimed: Mapping[str, str], error_type: str, message: str) -> None:
        """Take claims from workers that are gone.

        Of several files nobody knows which it was: they come again, each alone, and only then it counts.

        Args:
            claimed: file → whose it was.
        """
        together = Counter(claimed.values())
        self._take({file: together[worker] == 1 for file, worker in claimed.items()}, error_type, message)

    def _status_after(self, outcome: Outcome) -> str:
        if outcome.postponed is not None:
            return "postponed"
        if outcome.ok:
            return "skipped" if outcome.claim.retract else "done"
        return "dead" if outcome.claim.attempt >= self.rules.attempts else "failed"

    def _is_received(self, claim: Claim, ahead: Ahead) -> bool:
        """Whether a claimed file counts as done for its receipt; not where a person has just asked for it anew."""
        return ahead.same and not self._token_base() < claim.asked == claim.token - 1

    def _write_outcomes(self, settled: Sequence[Settled]) -> None:
        endings: list[Ending] = []
        for entry in settled:
            outcome = entry.outcome
            if outcome.ok and outcome.place is not None and not outcome.place.is_own(outcome.claim.file):
                # Who has a place is read for it.
                self._write_endings(endings)
                endings = []
            endings.append(self._ending(entry))
        self._write_endings(endings)

    def _ending(self, entry: Settled) -> Ending:
        outcome, retract = entry.outcome, entry.outcome.claim.retract
        due = None
        if outcome.postponed is not None:
            due = self._due_after(outcome.claim.file, outcome.postponed)
        elif entry.status == "failed":
            due = self._now.timestamp() + self.rules.retry_after(outcome.claim.attempt)
        kept = Kept()
        if outcome.ok and retract:
            self._places.undone(outcome.claim)
        elif outcome.ok:
            kept = self._places.keep(outcome)
        undone = entry.status == "skipped"
        return Ending(
            status="failed" if outcome.postponed else entry.status,  # due again later, as those that failed are
            due=due,
            error_type=RETRACTED if undone else outcome.error_type,
            error_message=REASONS[RETRACTED] if undone else outcome.error_message,
            error_lines=outcome.error_lines,
            bytes=outcome.bytes,
            # What failed to be undone may be half undone: it counts as not done, and is where it was.
            basis="tried" if outcome.ok and not retract else "kept" if outcome.postponed or not retract else "none",
            retract=retract and not outcome.ok,
            placed=outcome.ok,
            target=kept.target,
            place=kept.name,
            mark=kept.mark,
            replaced_by=kept.replaced_by,
            file=outcome.claim.file,
            token=outcome.claim.token,
            untried=int(outcome.postponed is not None),
        )

    def _due_after(self, file: str, postponed: Postponed) -> float:
        """When a postponed file is due: then, and a little later each time in a row that it was tried for nothing."""
        times = self._refusals(file) if postponed.asked else 0
        latest = self._now.timestamp() + LONGEST_BACKOFF
        return min(postponed.until.timestamp() + wait_beyond(times), latest)

    def _absolve(self, claims: Sequence[Claim]) -> None:
        """The worker of these lives, although they were taken from it as from a dead one: that speaks against no file."""
        return

    # What is read and written

    @abstractmethod
    def _held(self, files: Sequence[str]) -> dict[str, Held]:
        """What is claimed of these files, by whomever."""

    @abstractmethod
    def _statuses(self, files: Sequence[str]) -> dict[str, str]:
        """The statuses of files of the job."""

    @abstractmethod
    def _suspects_among(self, claims: Sequence[Claim]) -> dict[str, bool]:
        """The files of those of these claims that hold, and whether each comes alone."""

    @abstractmethod
    def _take(self, counts: Mapping[str, bool], error_type: str, message: str) -> None:
        """Take claimed files from their worker, each with or without an attempt that counts; a file that this happens to as
        often as it may fail is dead. They are looked at again."""

    @abstractmethod
    def _give_back_claims(self, claims: Sequence[Claim]) -> list[str]:
        """Make pending, untried, the files of those of these claims that hold; which these are."""

    @abstractmethod
    def _write_endings(self, endings: Sequence[Ending]) -> None: ...

    @abstractmethod
    def _raise_tokens(self, behind: Sequence[Settled]) -> None:
        """Raise the tokens of these files to those of their receipts. What a person has asked for anew was asked for after
        them."""

    @abstractmethod
    def _token_base(self) -> int:
        """The token that a file has which was never claimed."""

    @abstractmethod
    def _refusals(self, file: str) -> int:
        """How often a file was tried and postponed in a row, up to now."""

    @abstractmethod
    def _note_attempts(self, tries: Sequence[Try], run_id: str | None, worker: str) -> None:
        """Write how files ended into the history, now."""


def _try(settled: Settled, since: Mapping[str, str]) -> Try:
    outcome = settled.outcome
    return Try(
        file=outcome.claim.file,
        token=outcome.claim.token,
        started_at=since[outcome.claim.file] if settled.status != "lost" else None,
        status=_how(settled),
        error_type=outcome.error_type,
        error_message=outcome.error_message,
        bytes=outcome.bytes,
    )


def _how(settled: Settled) -> str:
    """How an attempt went."""
    outcome = settled.outcome
    if settled.status == "lost":
        return "lost"
    if outcome.postponed is not None:
        return "postponed"
    if not outcome.ok:
        return "dead" if settled.status == "dead" else "failed"
    return "retracted" if outcome.claim.retract else "done"


def raised(behind: Sequence[Settled]) -> list[tuple[int, bool, str]]:
    """For ``_raise_tokens``: the receipt's token, whether a person has asked for the file anew, and the file."""
    found: list[tuple[int, bool, Any]] = []
    for entry in behind:
        ahead = entry.outcome.ahead
        if ahead is not None:
            found.append((ahead.token, entry.status == "pending" and ahead.same, entry.outcome.claim.file))
    return found
