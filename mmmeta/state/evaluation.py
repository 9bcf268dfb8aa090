"""Evaluating a job: what its selection means is read from the files, and offered to the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from mmmeta.filters import grows_with_time
from mmmeta.state.candidates import Candidates
from mmmeta.state.ledger.outcomes import Candidate
from mmmeta.state.ledger.store import Ledger, Offered


@dataclass(frozen=True)
class Evaluation(Offered):
    """What evaluating a selection did: what its offer did, and

    Attributes:
        changed: whether the definition's selection was another one before.
        indexed: keys over which an index was made.
    """

    changed: bool = False
    indexed: tuple[str, ...] = ()


def evaluate(ledger: Ledger, files: Candidates, state_revision: int) -> Evaluation:
    """Bring a job's ledger up to a state revision and to its present rules, in the ledger's transaction.

    Read are the files that changed since the last time; all that are meant where the selection is new or another one.
    """
    rules, known, teller = ledger.rules, ledger.known(), files.teller
    if known is None:
        indexed = files.index()
        offered = ledger.offer(files.everything(), state_revision, teller=teller)
        return Evaluation(**vars(offered), indexed=indexed)
    changed = known.rules.selection != rules.selection
    redefined = known.rules.rules != rules.rules
    outdated = known.evaluated < state_revision
    # A key may get its column with any merge; where nothing is new, nobody has to look.
    indexed = files.index() if changed or redefined or outdated else ()
    if redefined:
        if not rules.compares_as(known.rules):
            # What changed under the old rules and was not looked at yet is due; adopting it as done would lose it.
            ledger.under(known.rules).offer(files.under(known.rules).since(known.evaluated), None, teller=teller)
        ledger.redefine(known.rules, files.named)
    candidates: list[Iterator[Candidate]] = []
    if outdated:
        candidates.append(files.since(known.evaluated))
    if changed:
        candidates.append(files.everything())
    elif grows_with_time(rules.condition):
        candidates.append(files.entered(known.evaluated_at))
    offered = ledger.offer(chain(*candidates) if candidates else (), state_revision, whole=changed, teller=teller)
    return Evaluation(**vars(offered), changed=changed, indexed=indexed)
