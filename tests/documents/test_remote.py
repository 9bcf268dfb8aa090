"""URLs and file names made of templates from config.yml and values from the remote, hostile ones above all."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmmeta.documents.rendering import Remote, render_name, render_url
from mmmeta.errors import MmmetaError, RemoteNameError, RemoteTemplateError, UnsafeNameError

META: dict[str, Any] = {
    "_file_name": "2024/a file.pdf",
    "publisher:jurisdiction:id": "de",
    "number": 7,
    "share": 0.5,
    "flag": True,
    "empty": "",
    "nothing": None,
    "list": ["a"],
    "half": "\ud800",
}


def url(template: str, **values: Any) -> str:
    return render_url(template, {**META, **values}.get)


def name(template: str, **values: Any) -> str:
    return render_name(template, {**META, **values}.get)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("https://x.org/{_file_name}", "https://x.org/2024/a%20file.pdf"),
        ("https://x.org/{publisher:jurisdiction:id}/{number}.pdf", "https://x.org/de/7.pdf"),
        ("https://x.org/get?path={_file_name}&n={number}", "https://x.org/get?path=2024%2Fa%20file.pdf&n=7"),
        ("https://x.org/#{_file_name}", "https://x.org/#2024%2Fa%20file.pdf"),
        ("https://x.org?n={number}", "https://x.org?n=7"),
        ("s3://bucket/{_file_name}", "s3://bucket/2024/a file.pdf"),
        ("gs://bucket/x#{_file_name}", "gs://bucket/x#2024/a file.pdf"),
        ("file:///data/{_file_name}", "file:///data/2024/a%20file.pdf"),
        ("/data/{_file_name}", "/data/2024/a file.pdf"),
        ("{_file_name}", "2024/a%20file.pdf"),
        ("https://x.org/{share}/{flag}", "https://x.org/0.5/true"),
        ("https://x.org/fixed", "https://x.org/fixed"),
    ],
)
def test_a_template_is_filled(template: str, expected: str) -> None:
    """Keys may be nested; a slash stays in the path only."""
    assert expected == url(template)


def test_a_value_that_is_encoded_already_is_a_file_name_like_any_other() -> None:
    """Decoding the URL gives the value back."""
    assert url("https://x.org/{v}", v="a%20b") == "https://x.org/a%2520b"


@pytest.mark.parametrize("key", ["absent", "nothing", "empty", "list", "half"])
def test_a_value_that_is_missing_or_no_text_names_template_and_key(key: str) -> None:
    """Instead of a URL with a hole."""
    with pytest.raises(RemoteTemplateError, match=key) as caught:
        url(f"https://x.org/{{{key}}}")
    assert "https://x.org/" in str(caught.value)
    with pytest.raises(RemoteTemplateError, match=key):
        name(f"{{{key}}}.pdf")


@pytest.mark.parametrize(
    "template",
    [
        "https://{host}/x",
        "https://{host}",
        "https://x.org{path}",
        "https://x.org:{port}/",
        "https://user@{host}/",
        "{scheme}://x.org/a",
        "{url}://",
        "https:{rest}",
        "https:/{rest}",
        "javascript:{code}",
        "data:text/html,{code}",
        "//{host}/x",
        "//x.org{host}/x",
        "https:\\\\{host}/",
        "\\{host}",
    ],
)
def test_a_key_where_the_host_is_decided_is_refused(template: str) -> None:
    """Whatever the value would be."""
    with pytest.raises(RemoteTemplateError, match="scheme or host"):
        render_url(template, lambda key: "x")


@pytest.mark.parametrize("template", ["{", "}", "a{b", "a}b", "{{a}}", "{a{b}}", "x{}", "x{ }"])
def test_a_template_with_unmatched_braces_is_refused(template: str) -> None:
    """There are no escapes and no nesting."""
    for render in (render_url, render_name):
        with pytest.raises(RemoteTemplateError):
            render(template, lambda key: "x")


@pytest.mark.parametrize("key", ["a.__class__", "a[0]", "a!r", "a:>10", "0", "__class__"])
def test_a_template_runs_nothing(key: str) -> None:
    """What str.format would take for attributes, indexes and formats is the name of a key."""
    asked = []
    assert render_url(f"https://x.org/{{{key}}}", lambda name: asked.append(name) or "v") == "https://x.org/v"
    assert asked == [key]


HOSTILE = [
    "../../etc/passwd",
    "..",
    ".",
    "a/../../b",
    "a/./b",
    "/etc/passwd",
    "//evil.org/x",
    "///evil.org/x",
    "https://evil.org/",
    "javascript:alert(1)",
    "@evil.org/",
    "x@evil.org",
    "?a=b",
    "#frag",
    "\\\\evil.org\\share",
    "..\\..\\x",
    "%2e%2e/%2e%2e",
    "%00",
    "\0",
    "a\r\nHost: evil",
    "{number}",
    "{__class__}",
    ":80/",
    "a;b",
    "a b",
    "ü",
]
TEMPLATES = [
    "https://x.org/{v}",
    "https://x.org/a/{v}/b",
    "https://x.org/{v}{v}",
    "https://x.org/q?a={v}",
    "https://x.org/.{v}",
    "file:///data/{v}",
    "/{v}",
    "s3://bucket/{v}",
    "{v}",
    "{v}/x",
    "./{v}",
]


def check_url(template: str, value: str) -> None:
    """The promise: refused, or of the template's scheme and host, below its folder, with the template's ? and #.

    A path or the key of an object store knows neither: it is the value as it is.
    """
    try:
        result = url(template, v=value)
    except RemoteTemplateError:
        return
    if template.startswith(("/", "s3:")):
        assert result == template.replace("{v}", value)
        assert not {".", ".."} & set(result.split("/"))
        assert not result.startswith("//")
        return
    plain, parts = urlsplit(template), urlsplit(result)
    assert (plain.scheme, plain.netloc) == (parts.scheme, parts.netloc)
    assert not {".", ".."} & set(parts.path.split("/"))
    assert template.count("?") == result.count("?")
    assert template.count("#") == result.count("#")
    assert all(33 <= ord(character) < 127 and character not in '\\"<>^`|' for character in result)
    if not template.startswith("/"):
        assert not result.startswith("/")
    assert not result.startswith("//")
    assert value in unquote(result)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("value", HOSTILE, ids=repr)
def test_a_hostile_value_stays_in_its_place(template: str, value: str) -> None:
    """Neither scheme, host, query nor another folder comes from a value."""
    check_url(template, value)


@given(st.sampled_from(TEMPLATES), st.text(st.sampled_from("./\\:@?#%a\0\n{}2eE ü"), min_size=1))
def test_any_value_stays_in_its_place(template: str, value: str) -> None:
    """The same for whatever can be put together of what matters in URLs."""
    check_url(template, value)


def test_the_attributes_of_remote() -> None:
    """By attribute and by item; names are listed; a mistyped one is met with the near misses."""
    remote = Remote({"url": "https://x.org/{_file_name}", "thumb": "https://x.org/{absent}"}, META.get)
    assert remote.url == "https://x.org/2024/a%20file.pdf" == remote["url"]
    assert list(remote) == ["url", "thumb"]
    assert len(remote) == 2
    assert "url" in remote
    assert {"url", "thumb"} <= set(dir(remote))
    assert repr(remote) == "<Remote url, thumb>"
    assert not hasattr(remote, "nonsense")
    with pytest.raises(RemoteNameError, match="Did you mean 'url'"):
        remote.ulr  # noqa: B018
    with pytest.raises(AttributeError, match="There are url, thumb"):
        remote.something_else  # noqa: B018
    with pytest.raises(RemoteTemplateError, match=r"remote\.thumb.*'absent'"):
        remote.thumb  # noqa: B018
    with pytest.raises(RemoteNameError, match=r"config\.yml has none"):
        Remote({}, META.get).url  # noqa: B018


def test_remote_can_be_copied_and_pickled() -> None:
    """Python asks for underscored attributes before there are any."""
    remote = Remote({"url": "https://x.org/{number}"}, META.get)
    assert copy.copy(remote).url == "https://x.org/7"
    assert pickle.loads(pickle.dumps(remote)).url == "https://x.org/7"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{_file_name}", "2024/a file.pdf"),
        ("{publisher:jurisdiction:id}/{number}.pdf", "de/7.pdf"),
        ("x/{flag}-{share}", "x/true-0.5"),
        ("fixed.pdf", "fixed.pdf"),
    ],
)
def test_a_name_is_filled(template: str, expected: str) -> None:
    """Folders may come from the template and from a value."""
    assert expected == name(template)


GOOD_NAMES = [
    "a.pdf",
    "日本.pdf",
    "a b",
    "...a",
    ".hidden",
    "-rf",
    "~",
    "a..b",
    "console.txt",
    "com10",
    "a%2e%2e",
    "xy:z",
    "a.",
]


@pytest.mark.parametrize("value", [*GOOD_NAMES, "a/b/c", "x" * 255, "$HOME", "`id`", "*", "'\"", "communal.pdf"])
def test_ordinary_names_stay_as_they_are(value: str) -> None:
    """What is odd but safe is kept faithfully."""
    assert value == name("{v}", v=value)


BAD_NAMES = [
    "../x",
    "..",
    ".",
    "a/../../x",
    "a/..",
    "./a",
    "/etc/passwd",
    "//x",
    "a//b",
    "a/",
    "a\\b",
    "..\\x",
    "C:x",
    "c:/x",
]
BAD_NAMES += [
    "a\0b",
    "a\nb",
    "\x1b[31m",
    "\x7f",
    "\x85",
    "a\u2028b",
    "CON",
    "con.txt",
    "nul",
    "a/NUL.tar.gz",
    "LPT1",
    "com¹",
]
BAD_NAMES += [
    "aux .txt",
    "nul:",
    "CONIN$",
    "...",
    ".. ",
    " ",
    "a/ /b",
    "_mmmeta/meta.db",
    "_MMMETA/x",
    "a/_mmmeta",
    "_mmmeta./x",
]
BAD_NAMES += ["x" * 256, "ü" * 128, "a/" * 600 + "a", "x::file:///etc/passwd", "zip::x"]


@pytest.mark.parametrize("value", BAD_NAMES, ids=lambda value: repr(value)[:30])
def test_an_unsafe_name_is_refused(value: str) -> None:
    """With a reason and the template, in one line."""
    with pytest.raises(UnsafeNameError, match="cannot be a file name: ") as caught:
        name("{v}", v=value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_harmless_parts_cannot_add_up_to_something_else() -> None:
    """The whole name is checked, not the values one by one."""
    with pytest.raises(UnsafeNameError):
        name("{a}{b}/x", a=".", b=".")
    with pytest.raises(UnsafeNameError):
        name("_{a}/meta.db", a="mmmeta")
    with pytest.raises(RemoteTemplateError, match="climbs"):
        url("https://x.org/{a}{b}/x", a=".", b=".")


@given(st.text(st.sampled_from("./\\:~ \0\nanulcom1_NU")) | st.text())
def test_any_name_stays_below_its_folder(value: str) -> None:
    """Whatever is not refused is one relative path that means the same when normalised."""
    try:
        result = render_name("{v}", {"v": value}.get)
    except MmmetaError:
        return
    target = Path("/target")
    assert target in (target / result).parents
    assert (target / result).resolve() == target / PurePosixPath(result)
    assert str(PurePosixPath(result)) == result
