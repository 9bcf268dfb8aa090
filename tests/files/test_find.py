"""find(): comparisons by type, what is absent, dates as moments, orders, and that it is the same on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from archives import fill, opened
from found import found, names

from mmmeta import Metadir
from mmmeta.errors import FilterError, MmmetaError, UnknownKeyWarning, UnsupportedOperationError

HERE = Path(__file__).name


MIXED: dict[str, Any] = {
    "a": 1,
    "b": 1.0,
    "c": True,
    "d": "1",
    "e": False,
    "f": 0,
    "g": None,
    "h": [1],
    "i": "[1]",
    "j": 2**70,
    "k": str(2**70),
    "l": "",
    "m": {},
    "n": -3,
    "o": 2.5,
    "p": "contract",
}
"""One key with values of every kind; ``q`` below has no such key."""


@pytest.fixture(
    scope="module", params=[(where, state) for where in ("a column", "the shared column") for state in (False, True)]
)
def mixed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metadir]:
    """Files a to p with the values of MIXED under ``x``, and q without; only to be read."""
    where, state = request.param
    rows: list[dict[str, Any]] = [{"content_hash": "q"}, *({"content_hash": n, "x": v} for n, v in MIXED.items())]
    if where == "the shared column":
        rows[0].update({f"key{number}": 1 for number in range(1_000)})
    with opened(tmp_path_factory.mktemp("mixed"), state=state) as metadir:
        fill(metadir, *rows)
        yield metadir


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, "ab"),
        (1.0, "ab"),
        (True, "c"),
        (False, "eq"),
        (None, "gq"),
        ("1", "d"),
        ("", "l"),
        (0, "f"),
        (2**70, "j"),
        (2**70 + 1, ""),
        (str(2**70), "k"),
        ("[1]", "i"),
        ("contract", "p"),
        ([1, "1", None], "abdgq"),
        ([], ""),
        ([False], "eq"),
        ({"=": 1}, "ab"),
        ({"==": 1}, "ab"),
        ({"is": None}, "gq"),
        ({"!=": None}, "abcdefhijklmnop"),
        ({"!=": 1}, "cdefhijklmnop"),
        ({"<>": "1"}, "abcefhijklmnop"),
        ({"not": True}, "abdefhijklmnopq"),
        ({"!=": False}, "abcdfhijklmnop"),
        ({"in": [True, 0]}, "cf"),
        ({"in": [True, False]}, "ceq"),
        ({"notin": [1, "1"]}, "cefhijklmnop"),
        ({"notin": [True]}, "abdefhijklmnopq"),
        ({"notin": [False]}, "abcdfhijklmnop"),
        ({"notin": [None, True]}, "abdefhijklmnop"),
        ({"notin": []}, "abcdefhijklmnop"),
        ({">": 0}, "abjo"),
        ({">=": 0}, "abfjo"),
        ({"gt": 1}, "jo"),
        ({"gte": 2.5}, "jo"),
        ({"<": 1}, "fn"),
        ({"<=": 1}, "abfn"),
        ({"lt": 0}, "n"),
        ({"lte": -3}, "n"),
        ({">": 2**69}, "j"),
        ({">": 2**71}, ""),
        ({"<": 2**71}, "abfjno"),
        ({">": 10**400}, ""),
        ({">": "1"}, "ikp"),
        ({">=": "1"}, "dikp"),
        ({"<": "1"}, "l"),
        ({"<=": "1"}, "dl"),
        ({"between": [0, 2]}, "abf"),
        ({"..": (2, 3)}, "o"),
        ({"between": ["1", "c"]}, "dik"),
        ({"like": "CON%"}, "p"),
        ({"like": "_"}, "d"),
        ({"ilike": "con%"}, "p"),
        ({"notlike": "con%"}, "dikl"),
        ({"notilike": "%1%"}, "lp"),
        ({"startswith": "con"}, "p"),
        ({"startswith": "CON"}, "p"),
        ({"startswith": "co_"}, ""),
        ({"startswith": ""}, "diklp"),
        ({"startswith": "%"}, ""),
        ({"endswith": "act"}, "p"),
        ({"endswith": "ACT"}, "p"),
        ({"endswith": "%act"}, ""),
        ({"endswith": ""}, "diklp"),
        ({"endswith": "1"}, "d"),
        ({">=": 0, "<": 2}, "abf"),
    ],
)
def test_comparisons_are_by_type(mixed: Metadir, value: Any, expected: str) -> None:
    """Every operator of dataset on a key with values of all kinds, null and absent."""
    assert expected == found(mixed, value)
    everything = set(MIXED) | {"q"}
    assert everything - set(expected) == set(names(mixed, {"$not": {"x": value}})), "$not is the exact complement"


def test_an_integer_past_64_bits_among_the_shared_keys_is_exact(mixed: Metadir) -> None:
    """As in a column of its own, where floats would take neighbours for equal."""
    assert mixed.files.find_one(x=2**70)["x"] == 2**70  # type: ignore[index]


def test_nobody_has_the_key(metadir: Metadir) -> None:
    """A key that no file has counts as absent under every operator, with a warning."""
    fill(metadir, {"content_hash": "a"})
    for value, expected in [
        (False, "a"),
        (None, "a"),
        ([False, 1], "a"),
        ({"!=": True}, "a"),
        ({"notin": [True, 1]}, "a"),
        (True, ""),
        (1, ""),
        ({"!=": 1}, ""),
        ({"!=": None}, ""),
        ({"!=": False}, ""),
        ({"notin": [True, False]}, ""),
        ({"<": 5}, ""),
        ({"like": "%"}, ""),
    ]:
        with pytest.warns(UnknownKeyWarning):
            assert expected == found(metadir, value), value
        with pytest.warns(UnknownKeyWarning):
            assert ("" if expected else "a") == names(metadir, {"$not": {"x": value}}), value


def test_combined(mixed: Metadir) -> None:
    """$any, $all and $not, positional and named filters together."""
    assert names(mixed, {"$any": [{"x": 1}, {"x": "1"}]}) == "abd"
    assert names(mixed, {"$all": [{"x": {">": 0}}, {"x": {"<": 2}}]}) == "ab"
    assert names(mixed, {"x": {">": 0}}, {"x": {"<": 2}}, content_hash="a") == "a"
    assert names(mixed, {"$any": []}) == ""
    assert names(mixed, {"$not": {"$any": [{"x": {"!=": None}}, {"content_hash": "g"}]}}) == "q"
    assert names(mixed, {"$not": {}}) == ""


# Keys


HOSTILE = [
    'x"; DROP TABLE files; --',
    "x'; DROP TABLE files; --",
    "a.b",
    "a-b",
    "Title",
    "title",
    "rowid",
    "files.rowid",
    "%s",
    "?",
    "?1",
    ":name",
    "$any",
    "ü" * 200,
    "[x]",
    "",
]


@pytest.mark.parametrize("keys_before", [0, 1_000])
def test_any_key_and_value_is_only_data(metadir: Metadir, keys_before: int) -> None:
    """Keys and values that would be SQL elsewhere are found by themselves, in their column or the shared one."""
    rows: list[dict[str, Any]] = [{"content_hash": "0", **{f"key{number}": 1 for number in range(keys_before)}}]
    rows += [{"content_hash": f"{number}-{key}", key: key} for number, key in enumerate(HOSTILE)]
    fill(metadir, *rows)
    for number, key in enumerate(HOSTILE):
        wanted = "$" + key if key.startswith("$") else key
        for value in (key, {"in": [key, "other"]}, {"startswith": key}, {">=": key}):
            assert names(metadir, {wanted: value}) == f"{number}-{key}"
        assert len(metadir.files) == len(rows)


def test_client_columns_and_shadows(tmp_path: Path) -> None:
    """The client's value hides the remote's in find, distinct and order, null included; without it the remote's counts."""
    with Metadir(tmp_path) as metadir:
        for name, value in [("a", True), ("b", 1), ("c", "t"), ("d", None)]:
            metadir.files.insert(content_hash=name, x=value)
        metadir.files.insert(content_hash="e")
        metadir.update()
        b, e = metadir.files.get("b"), metadir.files.get("e")
        assert b is not None
        assert e is not None
        b["x"] = "local"
        b.save()
        e["x"] = None
        e["imported"] = True
        e.save()
        assert names(metadir, x=1) == ""
        assert names(metadir, x="local") == "b"
        assert names(metadir, x=True) == "a"
        assert names(metadir, x=None) == "de"
        assert names(metadir, x=False) == ""
        assert names(metadir, imported=False) == "abcd"
        assert names(metadir, imported={"!=": False}) == "e"
        values = [row["x"] for row in metadir.files.distinct("x")]
        assert sorted(map(repr, values)) == sorted(map(repr, [True, "local", "t", None]))
        assert [file["x"] for file in metadir.files.find(order_by="-x", _limit=2)] == ["t", "local"]
        del b["x"]
        b.save()
        assert names(metadir, x=1) == "b"
        assert [row["x"] for row in metadir.files.distinct("x", content_hash="b")] == [1]


# Order, limits, deleted


def test_order_limit_offset(metadir: Metadir) -> None:
    """order_by takes keys, - for descending; ties and no order at all go by first publication."""
    fill(metadir, *({"content_hash": n, "x": x, "y": y} for n, x, y in [("c", 2, 1), ("a", 1, 2), ("b", 2, 3)]))
    assert names(metadir) == "cab"
    assert names(metadir, order_by="x") == "acb"
    assert names(metadir, order_by="-x") == "cba"
    assert names(metadir, order_by=["-x", "-y"]) == "bca"
    assert names(metadir, order_by=["x", "-y"]) == "abc"
    assert names(metadir, order_by="content_hash", _limit=2) == "ab"
    assert names(metadir, order_by="content_hash", _limit=2, _offset=1) == "bc"
    assert names(metadir, _offset=2) == "b"
    assert names(metadir, _limit=0) == ""
    assert names(metadir, _limit=None, _offset=None, _step=5, _streamed=True) == "cab"


def test_deleted_files_are_found_only_on_demand(metadir: Metadir) -> None:
    """deleted=True gives the deleted ones, None both; len, count and ``in`` mean the others."""
    fill(metadir, a=1, b=2)
    metadir.files.delete(content_hash="a")
    assert names(metadir) == "b"
    assert names(metadir, deleted=True) == "a"
    assert names(metadir, deleted=None) == "ab"
    assert names(metadir, {"$any": [{"x": 1}, {"x": 2}]}, deleted=None) == "ab"
    assert (len(metadir.files), metadir.files.count(), metadir.files.count(deleted=None)) == (1, 1, 2)
    assert metadir.files.count(x=1, deleted=True) == 1
    assert "a" not in metadir.files
    assert "b" in metadir.files
    gone = metadir.files.get("a")
    assert gone is not None
    assert gone.deleted
    assert gone.deleted_reason
    assert gone not in metadir.files
    assert [*metadir.files.distinct("x", deleted=True)] == [{"x": 1}]


def test_the_rest_of_reading(metadir: Metadir) -> None:
    """find_one, all, get, distinct, columns, has_column, iteration, in."""
    fill(metadir, {"content_hash": "a", "x": 1, "tags": [1]}, {"content_hash": "b", "x": 1.5, "n": {"m": True}})
    files = metadir.files
    one = files.find_one(x=1)
    assert one is not None
    assert (one.unique_value, one["tags"]) == ("a", [1])
    assert files.find_one(x=17) is None
    assert [file.unique_value for file in files.all()] == ["a", "b"]
    assert [file.unique_value for file in files] == ["a", "b"]
    assert [file.unique_value for file in files(x=1.5)] == ["b"]
    assert files.get("c") is None
    assert set(files.columns) == {"content_hash", "x", "tags", "n:m"}
    assert files.has_column("n:m")
    assert not files.has_column("n")
    assert one in files
    assert 17 not in files
    assert None not in files
    assert [*files.distinct("n:m")] == [{"n:m": None}, {"n:m": True}]
    assert [*files.distinct("tags", "x", x=1)] == [{"tags": [1], "x": 1}]
    assert len([*files.distinct("content_hash", _limit=1, _offset=None)]) == 1
    assert files.exists
    with pytest.raises(UnsupportedOperationError, match="names of keys"):
        files.distinct()


def test_what_cannot_be_asked(metadir: Metadir) -> None:
    """Wrong operators and values are errors that say what is possible."""
    fill(metadir, a=1)
    for turned in ("=<", "=>"):
        with pytest.raises(FilterError, match=rf"{turned!r} is not an operator\. Did you mean {turned[::-1]!r}\?"):
            metadir.files.find(x={turned: 1})
    with pytest.raises(FilterError):
        metadir.files.find(x={"<": None})
    with pytest.raises(UnsupportedOperationError, match=r"m\.files\.db"):
        metadir.files.find("x = 1")  # type: ignore[arg-type]


# Indexes


def test_an_index_is_used(metadir: Metadir) -> None:
    """Equality, order and a date on an indexed key ask the index."""
    fill(metadir, *({"content_hash": f"{n}", "x": f"2026-01-{n % 28 + 1:02}", "y": n} for n in range(200)))
    assert not metadir.files.has_index("x")
    for _ in range(2):
        metadir.files.create_index(["x"])
    metadir.files.create_index("y", "by_y")
    metadir.files.create_index(["x", "y"])
    assert metadir.files.has_index(["x"])
    assert metadir.files.has_index(["x", "y"])
    assert not metadir.files.has_index(["y", "x"])
    assert not metadir.files.has_index("nobody_has_it")
    backend = metadir._backend
    from mmmeta.filters import parse

    for where, index in [
        ({"x": "2026-01-05"}, "files_by_x"),
        ({"x": ["2026-01-05", "2026-01-06"]}, "files_by_x"),
        ({"y": 7}, "by_y"),
        ({"y": {">": 190}}, "by_y"),
        ({"x": date(2026, 1, 5)}, "files_by_x"),
        ({"x": {">=": datetime(2026, 1, 25)}}, "files_by_x"),
        ({"content_hash": "7"}, "autoindex"),
    ]:
        sql, parameters = backend.catalog().where(parse(where))
        with backend.database().reading() as connection:
            plan = connection.execute(f"EXPLAIN QUERY PLAN SELECT rowid FROM files WHERE {sql}", parameters).fetchall()
        assert "SEARCH" in plan[0][3], where
        assert index in plan[0][3], where
    with pytest.raises(MmmetaError, match="'x'"):
        metadir.files.create_index("xx")
