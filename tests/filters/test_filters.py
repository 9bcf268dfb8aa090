"""The filter language: mappings and typed words become conditions, conditions become JSON and words."""

from __future__ import annotations

import enum
import json
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmmeta.errors import FilterError
from mmmeta.filters import (
    OPERATORS,
    Ago,
    All,
    AnyOf,
    Compare,
    Condition,
    Not,
    condition_keys,
    describe,
    from_json,
    grows_with_time,
    parse,
    parse_text,
    to_json,
    to_where,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ORDERED = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXT,
    st.dates(),
    st.datetimes(timezones=st.sampled_from([None, timezone.utc, timezone(timedelta(hours=-3, minutes=-30))])),
)
PLAIN = st.one_of(st.none(), st.booleans(), ORDERED)
MOMENTS = st.one_of(ORDERED, st.floats(0, 10**9).map(Ago))


def comparisons() -> st.SearchStrategy[Condition]:
    """Every operator with every value that it takes."""
    lists = st.lists(PLAIN, max_size=4).map(tuple)
    values: dict[str, st.SearchStrategy[Any]] = dict.fromkeys(("=", "!="), PLAIN)
    values |= dict.fromkeys(("<", "<=", ">", ">="), MOMENTS)
    values |= {"in": lists, "notin": lists, "between": st.tuples(MOMENTS, MOMENTS)}
    return st.one_of(
        *(st.builds(Compare, TEXT, st.just(operator), values.get(operator, TEXT)) for operator in OPERATORS)
    )


CONDITIONS = st.recursive(
    comparisons(),
    lambda parts: st.one_of(
        st.lists(parts, max_size=3).map(lambda found: All(tuple(found))),
        st.lists(parts, max_size=3).map(lambda found: AnyOf(tuple(found))),
        parts.map(Not),
    ),
    max_leaves=8,
)
WHERES = st.recursive(
    st.dictionaries(TEXT.map(lambda key: f"k{key}"), PLAIN, max_size=4),
    lambda wheres: st.fixed_dictionaries(
        {}, optional={"$any": st.lists(wheres, max_size=3), "$all": st.lists(wheres, max_size=3), "$not": wheres}
    ),
    max_leaves=5,
)


def fingerprint(condition: Condition) -> str:
    """What users of ``to_json`` do with it; deliberately without sorting keys."""
    return json.dumps(to_json(condition))


def turned(where: Any) -> Any:
    """The same mapping with every order turned round."""
    if isinstance(where, dict):
        return {key: turned(where[key]) for key in reversed(list(where))}
    return [turned(part) for part in reversed(where)] if isinstance(where, list) else where


@given(CONDITIONS)
def test_json_form_reads_back_equal(condition: Condition) -> None:
    """A stored selection is the selection, also after a trip through JSON text."""
    assert condition == from_json(to_json(condition))
    assert condition == from_json(json.loads(json.dumps(to_json(condition))))
    assert hash(condition) == hash(from_json(to_json(condition)))


@given(CONDITIONS)
def test_json_form_holds_no_integer_that_a_library_turns_into_a_float(condition: Condition) -> None:
    """orjson has no integers beyond 64 bits and would keep another number."""
    orjson = pytest.importorskip("orjson")
    assert condition == from_json(orjson.loads(orjson.dumps(to_json(condition))))


@given(WHERES)
def test_fingerprint_does_not_depend_on_order(where: dict[str, Any]) -> None:
    """Sorting a project file does not make another selection."""
    assert fingerprint(parse(where)) == fingerprint(parse(turned(where)))
    assert parse(where) == parse(turned(where))


@given(CONDITIONS)
def test_mapping_form_reads_back_the_same(condition: Condition) -> None:
    """What was typed can be handed on as a mapping; only superfluous brackets disappear."""
    again = parse(to_where(condition))
    assert again == parse(to_where(again))
    assert condition_keys(again) == condition_keys(condition)


@given(comparisons())
def test_mapping_form_of_a_comparison(comparison: Condition) -> None:
    """Keys that begin with ``$`` included."""
    assert parse(to_where(comparison)) == comparison
    assert parse(to_where(Not(comparison))) == Not(comparison)


@given(CONDITIONS)
def test_every_condition_can_be_described(condition: Condition) -> None:
    """The UI shows whatever a project file asks for, and names every key."""
    words = describe(condition)
    assert words
    assert all(key in words for key in condition_keys(condition))


@pytest.mark.parametrize(
    ("one", "other"), [(True, 1), (False, 0), (1, "1"), (1, 1.0), (None, "null"), ("2024-01-01", date(2024, 1, 1))]
)
def test_types_make_different_conditions(one: object, other: object) -> None:
    """Python's ``True == 1`` does not reach the filter language."""
    assert parse({"x": one}) != parse({"x": other})
    assert fingerprint(parse({"x": one})) != fingerprint(parse({"x": other}))
    assert len(in_values(parse({"x": [one, other]}))) == 2


def in_values(condition: Condition) -> tuple[Any, ...]:
    assert isinstance(condition, Compare)
    assert isinstance(condition.value, tuple)
    return condition.value


def test_mapping_reads_as_the_project_file_has_it() -> None:
    """The selection of DESIGN's example, every construct of it."""
    where = {
        "$any": [{"extension": "pdf"}, {"headers:content-type": {"like": "application/pdf%"}}],
        "$not": {"is_public": False},
        "retrieved_at": {">=": {"ago": "7d"}},
    }
    expected = All(
        (
            AnyOf((Compare("extension", "=", "pdf"), Compare("headers:content-type", "like", "application/pdf%"))),
            Not(Compare("is_public", "=", False)),
            Compare("retrieved_at", ">=", Ago(604800.0)),
        )
    )
    assert expected == parse(where)
    assert {"extension", "headers:content-type", "is_public", "retrieved_at"} == condition_keys(parse(where))


def test_short_forms() -> None:
    """Nothing is everything, a list is ``in``, several operators are and'ed, single parts stand for themselves."""
    assert All(()) == parse({})
    assert Compare("a", "in", ("x", "y")) == parse({"a": {"y", "x"}})
    assert All((Compare("a", ">", 1), Compare("a", "<=", 5))) == parse({"a": {">": 1, "<=": 5}})
    assert parse({"a": 1}) == parse({"$all": [{"$any": [{"a": 1}]}]})
    assert AnyOf(()) == parse({"$any": []})
    assert Compare("$any", "=", 1) == parse({"$$any": 1})
    assert Compare("$$x", "=", 1) == parse({"$$$x": 1})


@pytest.mark.parametrize(
    ("spelling", "operator"),
    [("==", "="), ("is", "="), ("<>", "!="), ("not", "!="), ("gt", ">"), ("lt", "<"), ("gte", ">="), ("lte", "<=")],
)
def test_operators_may_be_spelled_as_dataset_does(spelling: str, operator: str) -> None:
    """Filters written for dataset go on working."""
    assert Compare("a", operator, 3) == parse({"a": {spelling: 3}})
    assert Compare("a", operator, 3) == parse({"a": {spelling.upper(): 3}})


def test_between_has_two_spellings() -> None:
    """As in dataset; the order of its two values is kept."""
    assert Compare("a", "between", (5, 1)) == parse({"a": {"between": [5, 1]}}) == parse({"a": {"..": (5, 1)}})


def test_enumerations_become_what_they_hold() -> None:
    """A subclass would otherwise reach the database and the JSON form as something else."""

    class Kind(str, enum.Enum):
        CONTRACT = "contract"

    assert Compare("a", "=", "contract") == parse({"a": Kind.CONTRACT})
    assert type(to_json(parse({"a": Kind.CONTRACT}))[2]) is str


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"a": {"lik": "x"}}, "Did you mean 'like'"),
        ({"a": {"jurisdiction": "bw"}}, "a:jurisdiction"),
        ({"$eny": []}, "Did you mean '$any'"),
        ({"$foo": 1}, "written '$$foo'"),
        ({"$any": {"a": 1}}, "takes a list"),
        ({"$not": [{"a": 1}]}, "not a list"),
        ({"a": {"in": "abc"}}, "takes a list of values, not text"),
        ({"a": {"between": [1]}}, "two values"),
        ({"a": {"=": [1]}}, "cannot compare with a list"),
        ({"a": [[1]]}, "cannot compare with a list"),
        ({"a": {}}, "no operator"),
        ({"a": {">": None}}, "not null"),
        ({"a": {">": True}}, "not true or false"),
        ({"a": {"like": 5}}, "with text, not an int"),
        ({"a": {"=": {"ago": "7d"}}}, "moment that moves"),
        ({"a": {"ago": "7d"}}, "{'>=': {ago: 7d}}"),
        ({"a": {">=": {"ago": "soon"}}}, "a: 'soon' is not a duration"),
        ({"a": {">=": {"since": "7d"}}}, "cannot compare with a mapping"),
        ({"a": float("nan")}, "no number"),
        ({"a": "\ud800"}, "surrogate"),
        ({"\ud800": 1}, "surrogate"),
        ({"a": object()}, "cannot compare with an object"),
        ({1: 1}, "keys are text"),
        ([("a", 1)], "is a mapping"),
    ],
)
def test_mistakes_are_named(where: Any, words: str) -> None:
    """A filter that cannot mean anything is one clear error, not an empty result."""
    with pytest.raises(FilterError) as caught:
        parse(where)
    assert words in str(caught.value)


@pytest.mark.parametrize("form", [None, [], ["a", "~", 1], {"all": 1}, {"some": []}, ["a", "=", {"when": 1}], "x", {}])
def test_foreign_json_is_refused(form: Any) -> None:
    """What ``to_json`` did not write is not guessed at."""
    with pytest.raises(FilterError):
        from_json(form)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("document_type=contract", Compare("document_type", "=", "contract")),
        ("a == b", Compare("a", "=", "b")),
        ("retrieved_at>=7d", Compare("retrieved_at", ">=", Ago(604800.0))),
        ("retrieved_at<1h30m", Compare("retrieved_at", "<", Ago(5400.0))),
        ("length=7d", Compare("length", "=", "7d")),
        ("imported=false", Compare("imported", "=", False)),
        ("imported=False", Compare("imported", "=", False)),
        ("imported!=null", Compare("imported", "!=", None)),
        ("pages>10", Compare("pages", ">", 10)),
        ("pages<=-2.5", Compare("pages", "<=", -2.5)),
        ("x=1e400", Compare("x", "=", "1e400")),
        ("zip=00123", Compare("zip", "=", "00123")),
        ('zip="123"', Compare("zip", "=", "123")),
        ("zip='123'", Compare("zip", "=", "123")),
        ("title~=%x,y%", Compare("title", "like", "%x,y%")),
        ("title!~=5", Compare("title", "notlike", "5")),
        ("title~*=%X%", Compare("title", "ilike", "%X%")),
        ("title!~*=%X%", Compare("title", "notilike", "%X%")),
        ("title^=Re: ", Compare("title", "startswith", "Re:")),
        ('title^="Re: "', Compare("title", "startswith", "Re: ")),
        ("_file_name$=.pdf", Compare("_file_name", "endswith", ".pdf")),
        ("key!=x", Compare("key", "!=", "x")),
        ("key<>x", Compare("key", "!=", "x")),
        ("key=a,b,3", Compare("key", "in", ("a", "b", 3))),
        ("key!=a,b", Compare("key", "notin", ("a", "b"))),
        ('key="a,b",c', Compare("key", "in", ("a,b", "c"))),
        ('key="a,b"', Compare("key", "=", "a,b")),
        (r'key="say \"a\" \\"', Compare("key", "=", r'say "a" \\'[:-1])),
        ('size=5"', Compare("size", "=", '5"')),
        ("key=", Compare("key", "=", "")),
        ("url=https://x/?a=b&c>d", Compare("url", "=", "https://x/?a=b&c>d")),
        ("publisher:jurisdiction:id=bw", Compare("publisher:jurisdiction:id", "=", "bw")),
        ("$any=1", Compare("$any", "=", 1)),
        ('"a=b"=c', Compare("a=b", "=", "c")),
        ("published_at=2019-04-18", Compare("published_at", "=", date(2019, 4, 18))),
        ("at>2021-05-27T18:43:23.792", Compare("at", ">", datetime(2021, 5, 27, 18, 43, 23, 792000))),
        ("at>2021-05-27 18:43Z", Compare("at", ">", datetime(2021, 5, 27, 18, 43, tzinfo=timezone.utc))),
        ("at>2021-05-27T18:43:23+0200", Compare("at", ">", datetime(2021, 5, 27, 16, 43, 23, tzinfo=timezone.utc))),
    ],
)
def test_typed_words(word: str, expected: Compare) -> None:
    """What people type means what it looks like."""
    found = parse_text([word])
    assert isinstance(found, Compare)
    assert (expected.key, expected.op, expected.value) == (found.key, found.op, found.value)
    assert type(expected.value) is type(found.value)


@given(TEXT.filter(bool), TEXT)
def test_quotes_keep_any_text(key: str, text: str) -> None:
    """Whatever a key or a value holds, there is a way to type it."""

    def quoted(part: str) -> str:
        return '"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"'

    assert Compare(key, "=", text) == parse_text([f"{quoted(key)}={quoted(text)}"])
    assert Compare(key, "in", (text, "x")) == parse_text([f"{quoted(key)}={quoted(text)},x"]) or text == "x"


def test_words_are_anded() -> None:
    """As on every command line."""
    assert All((Compare("a", "=", 1), Compare("b", ">", 2))) == parse_text(["b>2", "a=1"])
    assert All(()) == parse_text([])


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("contract", "key=value"),
        ("=contract", "not a filter"),
        ("pages=>10", "no operator '=>'"),
        ("key=a,,b", "empty entry"),
        ('key="a', "not closed"),
        ('key="a"b', "not closed"),
        ("at>2021-02-30", "is no date"),
        ("at>null", "has an order"),
    ],
)
def test_mistyped_words_are_named(word: str, words: str) -> None:
    """Each typing error has its own sentence."""
    with pytest.raises(FilterError) as caught:
        parse_text([word])
    assert words in str(caught.value)


def test_description_reads_as_a_sentence() -> None:
    """The example that the UI shows."""
    where = {"document_type": "contract", "retrieved_at": {">=": {"ago": "7d"}}}
    assert describe(parse(where)) == 'document_type is "contract" and retrieved_at is within the last 7 days'
    assert (
        describe(parse({"a": 1, "$any": [{"b": True}, {"c": None}]})) == "a is 1 and (b is true or c is absent or null)"
    )
    assert describe(parse({"$not": {"a": [1, True]}})) == "not (a is one of 1, true)"
    assert describe(parse({})) == "all files"
    assert describe(parse({"$any": []})) == "no files"
    assert describe(parse({"a": {">": {"ago": "24h"}}})) == "a is within the last day"
    assert describe(parse({"a": {"<": {"ago": "2d"}}})) == "a is more than 2 days ago"
    assert describe(parse({"a": {"<": date(2024, 1, 1)}})) == "a is before 2024-01-01"


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"a": 1}, False),
        ({"a": {">=": Ago(5)}}, False),
        ({"a": {">": Ago(5)}, "b": 1}, False),
        ({"$any": [{"a": {">": Ago(5)}}, {"b": 1}]}, False),
        ({"a": {"<": Ago(5)}}, True),
        ({"a": {"between": [Ago(9), Ago(5)]}}, True),
        ({"$not": {"a": {">": Ago(5)}}}, True),
        ({"$any": [{"b": 1}, {"$not": {"$not": {"a": {">": Ago(5)}}}}]}, True),
    ],
)
def test_growing_selections_are_known(where: dict[str, Any], expected: bool) -> None:
    """A selection that time alone can fill has to be evaluated again without any change."""
    assert expected is grows_with_time(parse(where))


def test_a_duration_as_text_is_refused_with_the_right_spelling() -> None:
    """It would be compared with dates letter by letter; as a value to be equal to, it is a text as any other."""
    for where in ({"retrieved_at": {">=": "7d"}}, {"retrieved_at": {"between": ["1w2d", "x"]}}):
        with pytest.raises(FilterError, match=r"retrieved_at: .* would compare text. Write \{ago: (7d|1w2d)\}"):
            parse(where)
    with pytest.raises(FilterError, match=r"'between': \[\{ago: 7d\}, \{ago: 1d\}\]"):
        parse({"retrieved_at": {"between": ["7d", "1d"]}})
    assert parse({"size": "7d"}) == Compare("size", "=", "7d")
    assert parse({"size": {"startswith": "7d"}}) == Compare("size", "startswith", "7d")
    assert isinstance(parse({"retrieved_at": {">=": {"ago": "7d"}}}), Compare)
