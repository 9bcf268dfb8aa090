"""Templates with defaults, and folders that are empty."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmmeta.config.model import load_config
from mmmeta.documents.rendering import Remote, check_name_template, check_url_template, render_name, render_url
from mmmeta.errors import ConfigError, MmmetaError, RemoteTemplateError, UnsafeNameError

META: dict[str, Any] = {
    "publisher:name": "Ä b",
    "null": None,
    "nothing": "",
    "list": [],
    "object": {},
    "false": False,
    "zero": 0,
    "a|b": "piped",
    "dir": "2024/letters",
    "name": "a.pdf",
    "top": "",
}


def name(template: str, **values: Any) -> str:
    return render_name(template, {**META, **values}.get)


def url(template: str, **values: Any) -> str:
    return render_url(template, {**META, **values}.get)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{publisher:name|unknown}", "Ä b"),
        ("{absent|unknown}", "unknown"),
        ("{null|unknown}", "unknown"),
        ("{nothing|unknown}", "unknown"),
        ("{list|unknown}", "unknown"),
        ("{object|unknown}", "unknown"),
        ("{false|unknown}", "false"),
        ("{zero|unknown}", "0"),
        ("x{absent|}.pdf", "x.pdf"),
        ("{absent|a b}", "a b"),
        ("{absent| }x", " x"),
        ("{absent|sub/folder}/x", "sub/folder/x"),
        ("{a||b}", "piped"),
        ("{a||b|no}", "piped"),
        ("{c||d|no}", "no"),
        ("{absent|a|b||c}", "a|b||c"),
        ("a|b", "a|b"),
        ("{absent|zero}", "zero"),
        ("{absent|ab:c}", "ab:c"),
    ],
)
def test_a_default_stands_for_what_a_file_lacks(template: str, expected: str) -> None:
    """Absent, null and empty values take it; false and 0 are values. A default is text, never the name of a key."""
    assert expected == name(template)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("https://x.org/{absent|un known}/a", "https://x.org/un%20known/a"),
        ("https://x.org/?p={absent|a/b&c}", "https://x.org/?p=a%2Fb%26c"),
        ("https://x.org/{absent|}a", "https://x.org/a"),
        ("s3://bucket/{absent|un known}", "s3://bucket/un known"),
        ("https://x.org/{absent|?q=1#x}", "https://x.org/%3Fq%3D1%23x"),
    ],
)
def test_a_default_is_encoded_as_a_value_is(template: str, expected: str) -> None:
    """It cannot become a query where the template has none."""
    assert expected == url(template)


@pytest.mark.parametrize(
    ("template", "values", "expected"),
    [
        ("{dir}/{name}", {}, "2024/letters/a.pdf"),
        ("{dir}/{name}", {"dir": ""}, "a.pdf"),
        ("{top|}/{name}", {}, "a.pdf"),
        ("x/{top|}/{name}", {}, "x/a.pdf"),
        ("{top|}/{absent|}/{name}", {}, "a.pdf"),
        ("{top|}{absent|}/{name}", {}, "a.pdf"),
        ("x{top|}/{name}", {}, "x/a.pdf"),
        ("{top|}x/{name}", {}, "x/a.pdf"),
        ("{dir|top}/{name}", {"dir": ""}, "top/a.pdf"),
    ],
)
def test_a_folder_of_nothing_but_empty_values_falls_away(template: str, values: dict[str, Any], expected: str) -> None:
    """What lies in the files root itself has an empty ``dir``."""
    assert expected == name(template, **values)
    assert f"https://x.org/{expected}" == url(f"https://x.org/{template}", **values)
    assert f"/data/{expected}" == url(f"/data/{template}", **values)


@pytest.mark.parametrize(
    "folder", ["..", "../x", "a/../..", "/etc", "/", ".", "a//b", "_mmmeta", "a/_mmmeta/x", "con", "a\\b", " "]
)
def test_a_hostile_folder_is_refused(folder: str) -> None:
    """Wherever an empty value stands before it."""
    for template in ("{dir}/{name}", "{top|}/{dir}/{name}", "{top|}{dir}/{name}", "x/{top|}/{dir}/{name}"):
        if folder == "/" and template.startswith("x"):
            continue
        with pytest.raises(UnsafeNameError):
            name(template, dir=folder)


def test_an_empty_value_without_a_default_is_an_error_that_says_how_to_write_one() -> None:
    """A folder that is missing is an error, too: only where a document lies at the top is it empty."""
    for template in ("{nothing}", "{null}/{name}", "{absent|x}{absent}"):
        with pytest.raises(RemoteTemplateError, match=r"\{(nothing|null|absent)\|text\}"):
            name(template)
    with pytest.raises(RemoteTemplateError, match="'dir' is missing"):
        name("{dir}/{name}", dir=None)
    with pytest.raises(RemoteTemplateError, match=r"\{c\|\|d\|text\}"):
        name("{c||d}")
    with pytest.raises(RemoteTemplateError, match="holds list"):
        name("{list|x}", list=["a"])


@pytest.mark.parametrize("template", ["{|x}", "{ |x}", "{a |x}", "{ a|x}", "{a|{b}}", "{a|b}}"])
def test_a_clumsy_default_is_refused(template: str) -> None:
    """With a space beside the key no file would ever have it, and the default would hide that."""
    for check in (check_name_template, check_url_template):
        with pytest.raises(RemoteTemplateError):
            check(template)


@pytest.mark.parametrize(
    "template", ["{a|..}/x", "{a|/etc}/x", "{a|con}", "{a|_mmmeta}/x", "{a|}", "x/{a|}", "{a|.}{b|.}/x"]
)
def test_a_default_that_cannot_stand_in_a_name_is_refused_before_there_is_a_file(template: str) -> None:
    """It goes through what values go through."""
    with pytest.raises(MmmetaError):
        check_name_template(template)


@pytest.mark.parametrize(
    "template", ["https://{a|x.org}/", "{a|}://x.org/", "https://x.org/{a|..}/b", "{a|//evil.org}/b"]
)
def test_a_default_decides_no_host_and_climbs_nowhere(template: str, tmp_path: Path) -> None:
    """config.yml comes from the remote, and says so before there is a file."""
    with pytest.raises(RemoteTemplateError):
        check_url_template(template)
    (tmp_path / "config.yml").write_text(f'remote:\n  url: "{template}"\n')
    with pytest.raises(ConfigError, match=r"remote\.url"):
        load_config(tmp_path / "config.yml")


def test_remote_takes_defaults() -> None:
    """``file.remote.url`` of a file that lacks a key."""
    assert Remote({"url": "https://x.org/{absent|unknown}/{name}"}, META.get).url == "https://x.org/unknown/a.pdf"


PIECES = st.text(st.sampled_from("./\\ab_|~ ü"))


@given(PIECES, PIECES, PIECES)
def test_any_folder_and_default_stay_below_the_target(folder: str, file: str, default: str) -> None:
    """Empty folders fall away, and nothing else does."""
    values: dict[str, Any] = {"dir": folder, "name": file, "x": ""}
    for template in ("{dir}/{name}", f"{{x|{default}}}/{{dir}}/{{name}}", f"{{dir}}{{x|{default}}}/{{name|a}}"):
        try:
            result = render_name(template, values.get)
        except MmmetaError:
            continue
        target = Path("/target")
        assert target in (target / result).parents
        assert (target / result).resolve() == target / result
        assert "//" not in result
