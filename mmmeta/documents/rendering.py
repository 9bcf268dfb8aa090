"""``file.remote.url`` and the names of downloads: templates filled with values that come from the remote.

Nothing in such a value is trusted. In a URL it can fill a path or a query, never decide scheme or host or climb out of a
folder; as a file name it stays below the folder it is meant for, on every file system.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from mmmeta.documents.reserved import is_reserved
from mmmeta.documents.source import is_path, protocol_of
from mmmeta.documents.templates import Placeholder, Template, parse_template, parse_url_template
from mmmeta.errors import RemoteNameError, RemoteTemplateError, UnsafeNameError, near_misses

__all__ = ["Remote", "check_name_template", "check_url_template", "render_name", "render_url", "template_text"]

LONGEST_COMPONENT = 255
"""Bytes of one file or folder name; what file systems allow."""

LONGEST_NAME = 1024
"""Bytes of a whole relative path; leaves room for the target folder within the 4096 that Linux allows."""

ENCODED_SCHEMES = ("http", "https", "file")
"""Where ``%20`` means a space; all others (``s3:``, ``gs:`` …) take the characters of an address as they are."""

FOLDER = "dir"
"""The key of the folder that a document lies in; it is empty, and not missing, where that is the files root itself."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_DEVICE = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])[ ]*(?:[.:].*)?", re.IGNORECASE | re.DOTALL
)
_DRIVE = re.compile(r"[A-Za-z]:")


class Remote:
    """The URL templates of config.yml, filled for one file when they are asked for.

    ``remote.url`` and ``remote["url"]`` are the same; ``dir(remote)`` and iteration give the names.

    Args:
        templates: name → template.
        get: gives the value of a metadata key, None where it is absent.
    """

    __slots__ = ("_get", "_templates")

    def __init__(self, templates: Mapping[str, str], get: Callable[[str], Any]) -> None:
        self._templates = templates
        self._get = get

    def __getattr__(self, name: str) -> str:
        # copy and pickle ask for underscored names before __init__ ran.
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> str:
        """The filled template of this name.

        Raises:
            RemoteNameError: config.yml has no such template.
            RemoteTemplateError: the file lacks a key of the template, or its value cannot stand there.
        """
        template = self._templates.get(name)
        if template is None:
            known = f" There are {', '.join(self._templates)}." if self._templates else " config.yml has none."
            hint = near_misses(name, self._templates) or known
            raise RemoteNameError(f"config.yml has no URL template {name!r} below remote:.{hint}")
        try:
            return render_url(template, self._get)
        except RemoteTemplateError as error:
            raise RemoteTemplateError(f"remote.{name}: {error}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._templates)

    def __len__(self) -> int:
        return len(self._templates)

    def __contains__(self, name: object) -> bool:
        return name in self._templates

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._templates})

    def __repr__(self) -> str:
        return f"<Remote {', '.join(self._templates)}>"


def render_url(template: str, get: Callable[[str], Any]) -> str:
    """Fill a URL template, in the grammar of its address.

    In web addresses, ``file:`` URLs and what has neither scheme nor leading slash values are percent-encoded; a ``/``
    stays in a path, and is encoded after ``?`` or ``#``. Object stores and paths take every character as it is, so values
    are not encoded there: ``s3://bucket/{_file_name}`` is the key ``a b.pdf``.

    Raises:
        RemoteTemplateError: the template lets a value decide scheme or host, a key is missing or empty or not text or
            a number, or a value would climb out of its folder (``..``).
    """
    parsed = parse_url_template(template)

    literal = _is_literal(template)

    def filled(placeholder: Placeholder, before: str) -> str:
        safe = "" if "?" in before or "#" in before else "/"
        text = template_text(template, placeholder, get)
        if "\0" in text:
            raise RemoteTemplateError(
                f"template {template!r}: the value of {placeholder.key!r} has a NUL in it: {text!r}."
            )
        return text if literal else quote(text, safe=safe)

    result = parsed.fill(filled)
    path = result if literal else re.split(r"[?#]", result, maxsplit=1)[0]
    if any(segment in (".", "..") for segment in path.split("/")):
        raise RemoteTemplateError(
            f"template {template!r}: with this file's values it climbs to another folder: {path!r}."
        )
    slashes = len(template) - len(template.lstrip("/"))
    if len(result) - len(result.lstrip("/")) > slashes:
        raise RemoteTemplateError(
            f"template {template!r}: a value that begins with / would decide the host: {result!r}."
        )
    return result


def _is_literal(template: str) -> bool:
    """Whether an address is read without decoding: an absolute path, or any scheme but those that know ``%20``.

    What begins with a value is not, for the value could bring a scheme of its own.
    """
    scheme = protocol_of(template)
    return is_path(template) or (bool(scheme) and scheme not in ENCODED_SCHEMES)


def render_name(template: str, get: Callable[[str], Any]) -> str:
    """Fill a template for a file name, ``{_file_name}``: one relative path with ``/`` between folders.

    The result can be joined to a folder and stays below it: no absolute path, no ``.`` or ``..``, no backslash, no
    control character, no Windows device or drive, no folder of mmmeta's own, nothing over-long.

    Raises:
        RemoteTemplateError: the template is not one, or a key is missing or empty or not text or a number.
        UnsafeNameError: the result is not such a path.
    """
    name = parse_template(template).fill(lambda placeholder, before: template_text(template, placeholder, get))
    reason = _why_unsafe(name)
    if reason is not None:
        shown = repr(name) if len(name) <= 120 else f"{name[:120]!r}…"
        raise UnsafeNameError(f"{shown} (from {template!r}) cannot be a file name: {reason}.")
    return name


def check_url_template(template: str) -> None:
    """Take a URL template apart and try its defaults, before there is a file.

    Raises:
        RemoteTemplateError: it is no such template, or a default cannot stand where it does.
    """
    if optional := parse_url_template(template).optional_keys():
        render_url(template, _sample(optional))


def check_name_template(template: str) -> None:
    """The same for the template of a file name; values are checked when they are known.

    Raises:
        RemoteTemplateError: as ``check_url_template``.
        UnsafeNameError: what the template itself says cannot be a name, or not with its defaults.
    """
    parsed: Template = parse_template(template)
    render_name(template, _sample(frozenset()))
    render_name(template, _sample(parsed.optional_keys()))


def _sample(absent: frozenset[str]) -> Callable[[str], Any]:
    return lambda key: None if key in absent else "x"


def template_text(template: str, placeholder: Placeholder, get: Callable[[str], Any]) -> str:
    """A metadata value as it stands in a template: text and numbers as they are, ``true``, ``false``.

    The default stands for what is absent, null or empty, and whoever asks trusts it no more than a value.

    Raises:
        RemoteTemplateError: it is missing or empty and there is no default, or it is neither text nor a number; the message
            names template and key.
    """
    key = placeholder.key
    value = get(key)
    if placeholder.default is not None and (value is None or value in ("", [], {})):
        return placeholder.default
    if value == "" and key == FOLDER:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        try:
            return str(value)
        except ValueError:
            # Python writes out integers of some thousand digits only.
            raise RemoteTemplateError(f"template {template!r}: the key {key!r} holds an endless number.") from None
    if value is None or value == "":
        what = "is missing" if value is None else "is empty"
        raise RemoteTemplateError(
            f"template {template!r}: the key {key!r} {what} in this file's metadata. {{{key.replace('|', '||')}|text}} puts a "
            "text there instead."
        )
    if not isinstance(value, str):
        raise RemoteTemplateError(f"template {template!r}: the key {key!r} holds {type(value).__name__}, not text.")
    try:
        value.encode()
    except UnicodeEncodeError:
        reason = "holds half of a surrogate pair, which is no text"
        raise RemoteTemplateError(f"template {template!r}: the key {key!r} {reason}.") from None
    return value


def _why_unsafe(name: str) -> str | None:
    """Why a name cannot be used below a folder, None where it can."""
    if name.startswith("/"):
        return "it is absolute"
    if _DRIVE.match(name):
        return "it begins with a drive letter"
    if found := _CONTROL.search(name):
        return f"it has the control character {found.group()!r} in it"
    if "\\" in name:
        return "it has a backslash in it"
    if "::" in name:
        # fsspec takes what follows for another file system.
        return "it has :: in it, which chains file systems"
    if len(name.encode()) > LONGEST_NAME:
        return f"it is {len(name.encode())} bytes long, more than {LONGEST_NAME}"
    for part in name.split("/"):
        reason = _why_unsafe_part(part)
        if reason is not None:
            return reason
    return None


def _why_unsafe_part(part: str) -> str | None:
    if not part:
        return "a part of it is empty"
    # "..", but also ".. " and "...", which Windows takes for it.
    if not part.strip(" ."):
        return f"the part {part!r} is dots and spaces only"
    if _DEVICE.fullmatch(part):
        return f"the part {part!r} is a device on Windows"
    if is_reserved(part):
        return f"the part {part!r} is a folder of mmmeta's own"
    if len(part.encode()) > LONGEST_COMPONENT:
        return f"a part of it is {len(part.encode())} bytes long, more than {LONGEST_COMPONENT}"
    return None
