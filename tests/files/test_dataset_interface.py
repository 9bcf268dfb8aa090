"""m.files used as its users use a table of ``dataset``: every method and option of its documentation, on either database.

An archive's table differs where it has to: rows are identified by the unique key and marked deleted, never removed; values
keep their JSON types; a mistyped key is warned of. What a table can do and an archive cannot says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timezone
from typing import Any

import pytest

from mmmeta import File, Metadir
from mmmeta.errors import (
    DuplicateFileError,
    FilterError,
    MmmetaError,
    UnknownKeyError,
    UnknownKeyWarning,
    UnsupportedOperationError,
    ValueNotSupportedError,
)

ROWS: list[dict[str, Any]] = [
    {"content_hash": "h1", "harbour": "Kiel", "year": 2019, "depth": 4.5, "open": True, "seen": "2019-03-01"},
    {
        "content_hash": "h2",
        "harbour": "Kiel",
        "year": 2020,
        "depth": 7.25,
        "open": False,
        "seen": "2020-03-01T08:00:00",
    },
    {"content_hash": "h3", "harbour": "Emden", "year": 2020, "depth": -1.0, "open": True, "seen": "2020-07-09"},
    {"content_hash": "h4", "harbour": "Emden-Ost", "year": 2021, "depth": 0, "note": "100%_full"},
    {"content_hash": "h5", "harbour": "wismar", "year": 2022, "note": None},
]


@pytest.fixture
def metadir(metadir: Metadir) -> Metadir:
    """Five rows, in meta.db or merged into the state db."""
    metadir.files.insert_many(ROWS)
    if metadir.reads_state:  # type: ignore[attr-defined]
        metadir.update()
    return metadir


@pytest.fixture
def files(metadir: Metadir) -> Any:
    return metadir.files


def found(rows: Iterator[File]) -> list[str]:
    """The last letter of each row's name, in the order in which they came."""
    return [row["content_hash"][1:] for row in rows]


# Reading


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"harbour": "Kiel"}, "12"),
        ({"harbour": "Kiel", "year": 2020}, "2"),
        ({"harbour": "kiel"}, ""),
        ({"harbour": ["Kiel", "wismar"]}, "125"),
        ({"harbour": ("Kiel", "wismar")}, "125"),
        ({"harbour": {"Kiel", "wismar"}}, "125"),
        ({"harbour": []}, ""),
        ({"note": None}, "1235"),
        ({"open": True}, "13"),
        ({"open": False}, "245"),
        ({"year": {"=": 2020}}, "23"),
        ({"year": {"==": 2020}}, "23"),
        ({"year": {"is": 2020}}, "23"),
        ({"note": {"is": None}}, "1235"),
        ({"year": {"!=": 2020}}, "145"),
        ({"year": {"<>": 2020}}, "145"),
        ({"year": {"not": 2020}}, "145"),
        ({"note": {"not": None}}, "4"),
        ({"year": {">": 2020}}, "45"),
        ({"year": {"gt": 2020}}, "45"),
        ({"year": {">=": 2020}}, "2345"),
        ({"year": {"gte": 2020}}, "2345"),
        ({"year": {"<": 2020}}, "1"),
        ({"year": {"lt": 2020}}, "1"),
        ({"year": {"<=": 2020}}, "123"),
        ({"year": {"lte": 2020}}, "123"),
        ({"year": {"gt": 2019, "lt": 2021}}, "23"),
        ({"depth": {"between": [-1, 4.5]}}, "134"),
        ({"depth": {"..": (0, 0)}}, "4"),
        ({"year": {"in": [2019, 2022]}}, "15"),
        ({"year": {"notin": [2019, 2022]}}, "234"),
        ({"harbour": {"like": "%E%"}}, "1234"),
        ({"harbour": {"like": "_iel"}}, "12"),
        ({"harbour": {"ilike": "WIS%"}}, "5"),
        ({"harbour": {"notlike": "E%"}}, "125"),
        ({"harbour": {"notilike": "e%"}}, "125"),
        ({"harbour": {"startswith": "Emden"}}, "34"),
        ({"harbour": {"startswith": "emd"}}, "34"),
        ({"harbour": {"startswith": "E%"}}, ""),
        ({"harbour": {"endswith": "EL"}}, "12"),
        ({"harbour": {"endswith": "mar"}}, "5"),
        ({"note": {"startswith": "100%_"}}, "4"),
        ({"note": {"endswith": "%_full"}}, "4"),
        ({"note": {"endswith": "0_full"}}, ""),
        ({"seen": date(2020, 3, 1)}, "2"),
        ({"seen": {">=": date(2020, 1, 1)}}, "23"),
        ({"seen": {">": datetime(2020, 3, 1, 7, tzinfo=timezone.utc)}}, "23"),
        ({"YEAR": {"GT": 2020}}, ""),
    ],
)
@pytest.mark.filterwarnings("ignore::mmmeta.errors.UnknownKeyWarning")
def test_find_and_count_by_every_operator(files: Any, condition: dict[str, Any], expected: str) -> None:
    """And ``find_one``, ``all``, ``len`` of what is found, calling the table; filters by name and as a mapping."""
    assert "".join(found(files.find(**condition))) == expected
    assert "".join(found(files.find(condition))) == expected
    assert "".join(found(files(**condition))) == expected
    assert "".join(found(files.all(**condition))) == expected
    assert files.count(**condition) == len(expected)
    one = files.find_one(**condition)
    assert (one and one["content_hash"][1:]) == (expected[:1] or None)


@pytest.mark.parametrize(
    "condition",
    [
        {"year": {"in": 2020}},
        {"year": {"notin": "2020"}},
        {"year": {"between": [1, 2, 3]}},
        {"year": {"between": 3}},
        {"harbour": {"startswith": 3}},
        {"harbour": {"endswith": None}},
        {"harbour": {"like": 3}},
        {"year": {"nonsense": 3}},
        {"year": {}},
        {"year": {">": None}},
        {"year": {"=": [1, {"x": 2}]}},
    ],
)
def test_conditions_that_mean_nothing(files: Any, condition: dict[str, Any]) -> None:
    """Are refused when they are given, and not when the first row is asked for."""
    for read in (files.find, files.find_one, files.count, files.all, files):
        with pytest.raises(FilterError):
            read(**condition)
    with pytest.raises(FilterError):
        files.delete(**condition)
    with pytest.raises(FilterError):
        files.distinct("year", **condition)


def test_limit_offset_order_and_steps(files: Any) -> None:
    """What pages through a table; the order is that of publication without another."""
    assert found(files.find(_limit=2)) == ["1", "2"]
    assert found(files.find(_limit=2, _offset=3)) == ["4", "5"]
    assert found(files.find(_offset=4)) == ["5"]
    assert found(files.find(_limit=0)) == []
    assert found(files.find(order_by="depth")) == ["5", "3", "4", "1", "2"]
    assert found(files.find(order_by="-depth", _limit=2)) == ["2", "1"]
    assert found(files.find(order_by=["harbour", "-year"])) == ["3", "4", "2", "1", "5"]
    assert found(files.find(order_by=[None, "-year"], _limit=1)) == ["5"]
    for step in (None, 0, 1, 2, 1000, False):
        assert found(files.find(_step=step, _streamed=True)) == ["1", "2", "3", "4", "5"]
    assert files.find_one(order_by="-year")["year"] == 2022
    with pytest.warns(UnknownKeyWarning):
        assert len(found(files.find(order_by="nobody"))) == 5


def test_rows_are_mappings(files: Any) -> None:
    """Each by itself, and all of them while others are read."""
    row = files.find_one(content_hash="h1")
    assert dict(row) == ROWS[0]
    assert row == ROWS[0]
    assert list(row.keys()) == list(ROWS[0])
    assert (row["note"], "note" in row, row.get("note", 1)) == (None, False, 1)
    rows = files.find(harbour="Kiel")
    assert next(rows)["year"] == 2019
    assert [inner["year"] for outer in rows for inner in files.find(harbour=outer["harbour"])] == [2019, 2020]
    assert [row["content_hash"] for row in files] == [row["content_hash"] for row in files.all()]
    rows.close()


def test_length_and_columns(files: Any) -> None:
    assert len(files) == files.count() == 5
    assert files.exists
    assert set(files.columns) == {"content_hash", "harbour", "year", "depth", "open", "seen", "note"}
    assert [files.has_column(name) for name in ("year", "nobody", "", None)] == [True, False, False, False]
    assert (files.name, repr(files)) == ("files", "<Table(files)>")
    assert "year" in files.table.columns


def test_distinct(files: Any) -> None:
    """In order, of one key or several, filtered and cut."""
    assert [row["harbour"] for row in files.distinct("harbour")] == ["Emden", "Emden-Ost", "Kiel", "wismar"]
    assert list(files.distinct("harbour", "year", year={"<": 2021})) == [
        {"harbour": "Emden", "year": 2020},
        {"harbour": "Kiel", "year": 2019},
        {"harbour": "Kiel", "year": 2020},
    ]
    assert [row["year"] for row in files.distinct("year", _limit=2, _offset=1)] == [2020, 2021]
    assert [row["note"] for row in files.distinct("note")] == [None, "100%_full"]
    with pytest.raises(UnsupportedOperationError, match="distinct takes names of keys"):
        files.distinct()
    with pytest.raises(UnsupportedOperationError, match="distinct takes names of keys"):
        files.distinct(files.table.columns.year)


def test_clauses_of_sqlalchemy(metadir: Metadir) -> None:
    """Go to the database that is read; here they are refused, with where they work."""
    files, database = metadir.files, metadir.files.db
    clause: Any = database["files"].table.columns.year > 2020
    for read in (files.find, files.find_one, files.count, files.all, files.delete):
        with pytest.raises(UnsupportedOperationError, match=r"SQLAlchemy clauses work on m\.files\.db"):
            read(clause)
    assert [row["content_hash"] for row in database["files"].find(clause)] == ["h4", "h5"]
    assert [dict(row) for row in database.query("SELECT max(year) AS year FROM files")] == [{"year": 2022}]
    database.close()


def test_indexes(files: Any) -> None:
    """Of one key or several, made once; the unique key has one."""
    assert not files.has_index(["year"])
    files.create_index(["year"])
    files.create_index(["year"])
    files.create_index("harbour", "by_harbour")
    files.create_index(["harbour", "year"])
    assert files.has_index(["year"])
    assert files.has_index("harbour")
    assert files.has_index(["harbour", "year"])
    assert files.has_index(["content_hash"])
    assert not files.has_index(["nobody"])
    with pytest.raises(MmmetaError, match="no file has the key 'nobody'"):
        files.create_index(["nobody"])


# Writing


def test_insert(files: Any) -> None:
    """What identifies the row comes back; twice is an error, or ignored; a new key is a new column."""
    assert files.insert({"content_hash": "h6", "berths": 12}) == "h6"
    assert files.insert(content_hash="h7", ensure=True) == "h7"
    assert files.has_column("berths")
    assert files.find_one(content_hash="h6")["berths"] == 12
    with pytest.raises(DuplicateFileError):
        files.insert({"content_hash": "h6"})
    assert files.insert_ignore({"content_hash": "h6", "berths": 1}, ["content_hash"]) is False
    assert files.insert_ignore({"content_hash": "h8", "harbour": "Kiel", "year": 2019}, ["harbour", "year"]) is False
    assert files.insert_ignore({"content_hash": "h8", "harbour": "Kiel", "year": 1999}, ("harbour", "year")) == "h8"
    assert files.insert_ignore({"content_hash": "h9", "year": 1990}, "year") == "h9"
    assert len(files) == 9


def test_insert_many(files: Any) -> None:
    """Rows of different keys, from a generator, in chunks."""
    files.insert_many(({"content_hash": f"m{n}", f"key{n % 3}": n} for n in range(50)), chunk_size=7, ensure=True)
    files.insert_many([])
    assert len(files) == 55
    assert files.count(key1={">": 3}) == 16


def test_update(files: Any) -> None:
    """By one key or several; how many were changed."""
    assert files.update({"content_hash": "h1", "depth": 5.5}, ["content_hash"]) == 1
    assert files.update({"harbour": "Kiel", "depth": 1}, "harbour", return_count=True) == 2
    assert files.update({"harbour": "Kiel", "year": 2020, "depth": 2}, ("harbour", "year")) == 1
    assert files.update({"harbour": "nobody's", "depth": 2}, ["harbour"]) == 0
    files.update_many([{"content_hash": "h3", "depth": 8}, {"content_hash": "h4", "depth": 9}], ["content_hash"])
    assert [row["depth"] for row in files.find(order_by="content_hash", _limit=4)] == [1, 2, 8, 9]


def test_upsert(files: Any) -> None:
    """Changes, or adds."""
    files.upsert({"content_hash": "h1", "year": 1919}, ["content_hash"])
    assert dict(files.find_one(content_hash="h1")) == {**ROWS[0], "year": 1919}
    files.upsert({"content_hash": "h6", "year": 1920}, ["content_hash"])
    files.upsert({"content_hash": "h6", "berths": 3}, [])
    files.upsert_many([{"content_hash": "h6", "year": 1921}, {"content_hash": "h7", "year": 1922}], ["content_hash"])
    assert len(files) == 7
    assert files.find_one(berths=3)["year"] == 1921


def test_delete(files: Any) -> None:
    """Whether there was something to delete; without a filter it is everything."""
    assert files.delete(harbour="Kiel", year=2019) is True
    assert files.delete(harbour="Kiel", year=2019) is False
    assert files.delete(year={">=": 2021}) is True
    assert len(files) == 2
    with pytest.raises(UnknownKeyError):
        files.delete(nobody=1)
    assert files.delete() is True
    assert (len(files), list(files), files.delete()) == (0, [], False)
    assert files.columns


def test_values(files: Any) -> None:
    """What JSON has comes back as it was; dates become ISO text, by which they are found; what is no metadata is refused."""
    values = {"n": 2**70, "half": 0.5, "yes": True, "none": None, "text": "", "list": [1, "a"], "umlaut ü.-": "ß"}
    files.insert({"content_hash": "v", **values, "nested": {"a": 1}})
    assert dict(files.find_one(content_hash="v")) == {"content_hash": "v", **values, "nested:a": 1}
    for value in (b"bytes", object(), float("nan"), {1: 2}):
        with pytest.raises(ValueNotSupportedError):
            files.insert({"content_hash": "w", "value": value})
    assert files.find_one(content_hash="w") is None


# What cannot be had


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("create_column", ("berths", "integer")),
        ("create_column", ("year", "integer")),
        ("create_column_by_example", ("berths", 4)),
        ("drop_column", ("year",)),
        ("drop_column", ("nobody",)),
        ("drop", ()),
    ],
)
def test_columns_come_and_stay_with_the_files(files: Any, method: str, arguments: tuple[Any, ...]) -> None:
    """And the table with the archive."""
    with pytest.raises(UnsupportedOperationError):
        getattr(files, method)(*arguments)
    assert len(files) == 5


@pytest.mark.parametrize("options", [{"ensure": False}, {"types": {"year": "text"}}])
def test_columns_without_types_and_rows_without_keys(files: Any, options: dict[str, Any]) -> None:
    """Are not to be had; an empty ``types`` and ``ensure=True`` ask for nothing else than what is so."""
    row = {"content_hash": "n", "year": 1}
    for write in (files.insert, files.insert_ignore, files.upsert, files.update):
        with pytest.raises(UnsupportedOperationError):
            write(row, **options)
    for write in (files.insert_many, files.upsert_many, files.update_many):
        with pytest.raises(UnsupportedOperationError):
            write([row], **options)
    assert len(files) == 5
    files.insert_ignore(row, types={}, ensure=True)
    assert len(files) == 6
