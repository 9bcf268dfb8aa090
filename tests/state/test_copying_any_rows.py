"""Any rows of a state, copied into PostgreSQL and back."""

from __future__ import annotations

from typing import Any

import pytest
from archives import Archive
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from postgres import connected, emptied_server, fewer
from test_copying import end, rows

from mmmeta.clock import utcnow
from mmmeta.state.copying import copy_state
from mmmeta.state.ledger.postgresql.texts import sort_key, sort_value
from mmmeta.state.ledger.transfer import (
    ATTEMPTS,
    JOBS,
    LEDGER,
    OLDER_PLACES,
    OWN_VALUES,
    PLACES,
    TARGETS,
    Heading,
    Row,
    own_text,
)
from mmmeta.state.open import open_end

pytestmark = pytest.mark.services


@pytest.fixture
def url() -> str:
    return emptied_server()


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
MAYBE = st.none() | TEXT
NUMBER = st.integers(0, 2**62)
FLAG = st.integers(0, 1)
PRIORITY = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False).map(lambda value: value + 0.0)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300)
    | st.binary(max_size=20)
)
STATUS = st.sampled_from(["pending", "done", "failed", "dead", "skipped"])


OWN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


def values(section: Any, **known: Any) -> Any:
    """A strategy for rows of a table; texts where nothing else is said."""
    kinds: dict[str, Any] = {
        **dict.fromkeys(("id", "token", "asked", "bytes", "rev"), NUMBER),
        **dict.fromkeys(("accepted", "deleted", "meant", "retract"), FLAG),
        "status": STATUS,
        "priority": PRIORITY,
        "attempts": st.integers(0, 9),
        "due": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        **dict.fromkeys(("run_id", "tried", "basis", "once", "place", "mark", "error_message"), MAYBE),
        **known,
    }
    return st.tuples(*(kinds.get(name, TEXT) for name in section.columns))


def some(rows: Any, *key: int) -> Any:
    return st.lists(rows, max_size=6, unique_by=lambda row: tuple(row[at] for at in key))


STATES = st.fixed_dictionaries(
    {
        TARGETS: st.lists(values(TARGETS), max_size=4, unique_by=(lambda row: row[0], lambda row: row[1:4])),
        LEDGER: some(values(LEDGER, target=st.none() | NUMBER), 0, 1),
        PLACES: some(values(PLACES, place=TEXT), 0, 1, 2),
        OLDER_PLACES: some(values(OLDER_PLACES, place=TEXT), 0, 1, 2, 3),
        ATTEMPTS: some(values(ATTEMPTS), 0),
        OWN_VALUES: some(st.tuples(TEXT, st.dictionaries(st.sampled_from("klmn"), OWN, min_size=1).map(own_text)), 0),
        JOBS: st.lists(values(JOBS), min_size=1, max_size=3, unique_by=lambda row: row[0]),
    }
)


@settings(fewer(True), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(state=STATES)
def test_any_rows_are_the_same_there_and_back(state: dict[Any, list[Row]], archive: Archive, url: str) -> None:
    """Whatever is in them; of what orders files only the order, and of long texts the beginning."""
    if not archive.client.layout.state.exists():
        archive.write("a")
        archive.deliver()
    client = archive.client
    first, back = archive.root / "first.db", archive.root / "back.db"
    for path in (first, back):
        path.unlink(missing_ok=True)
    with connected() as connection:
        connection.execute("DROP SCHEMA IF EXISTS mmmeta_test CASCADE")
    made = open_end(end(client, first), utcnow)
    made.begin(Heading({}, {}), "a test")
    for section, found in state.items():
        made.write(section, [normal(section, row) for row in found])
    made.finish(Heading({}, {}))
    made.close()
    there = copy_state(end(client, first), end(client, url))
    again = copy_state(end(client, url), end(client, back))
    assert there.digests == again.digests
    assert rows(first) == rows(back)


def normal(section: Any, row: Row) -> Row:
    if section is not LEDGER:
        return row
    at = section.columns.index("priority")
    return (*row[:at], sort_value(sort_key(row[at])), *row[at + 1 :])


@given(one=PRIORITY, other=PRIORITY)
def test_what_orders_files_orders_them_after_it_came_back(one: Any, other: Any) -> None:
    """Its key is the same then."""
    back = [sort_value(sort_key(value)) for value in (one, other)]
    keys = [sort_key(value) for value in (one, other)]
    assert [sort_key(value) for value in back] == [sort_key(sort_value(key)) for key in keys]
    if not any(isinstance(value, str) and len(value.encode()) > 255 for value in (one, other)):
        assert [sort_key(value) for value in back] == keys
