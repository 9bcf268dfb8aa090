"""A job as only the ledger knows it: its definition is in another program, in Dagster, or gone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mmmeta.errors import JobError, near_misses
from mmmeta.filters import to_where
from mmmeta.jobs.job import Job
from mmmeta.project.job import job_config
from mmmeta.state.state import State


def recorded_job(state: State, name: str) -> Job:
    """The job by the selection and rules of its last evaluation.

    Raises:
        JobError: the ledger knows no such job.
    """
    with state.ledger.looking() as view:
        rules = view.rules(name)
        names: Iterable[str] = view.jobs() if rules is None else ()
    if rules is None:
        raise JobError(f"the ledger knows no job {name!r}.{near_misses(name, names)}")
    known: dict[str, Any] = {
        "rerun_on": rules.rerun_on if isinstance(rules.rerun_on, str) else list(rules.rerun_on) or "never",
        "attempts": rules.attempts,
        "backoff": rules.backoff,
        "order_by": rules.order_by,
        "on_delete": rules.on_delete,
    }
    config = job_config(name, to_where(rules.condition), **known)
    return Job(config, state, strict=False, recorded=rules)
