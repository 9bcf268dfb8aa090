"""What must not be shown as it is: passwords, tokens and signatures in addresses and in messages that repeat them, and
characters that steer whatever shows them.

Everything that shows an address, or what a database, a server or somebody's function said, comes through here.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, unquote_plus

HIDDEN = "***"

LONGEST = 200
"""Characters of what a server has said."""

SHORTEST = 3
"""Characters from which on a password is looked for in a message."""

_SECRET_NAME = (
    r"[^=&#;\s]*(?:sig|token|key|secret|passw|pwd|credential|auth|odbc_connect|jwt|session|assertion)[^=&#;\s]*"
)
"""Names of options whose values are secrets; ``odbc_connect`` is a whole connection string."""

_OPTION = re.compile(r"([?&;#])([^=?&;#\s'\"]{1,100})=([^&#;\s'\"]+)")
_IS_SECRET = re.compile(rf"{_SECRET_NAME}|code|ticket|sid", re.IGNORECASE)

_WORD = re.compile(r"\S+")
_AUTHORITY = re.compile(r"[^/?#@]*")
_LOGIN_ENDS = re.compile(r"@(?=[^@])")
_LOGIN_OF = re.compile(r"://([^\s?#]+)@")

_SAID = re.compile(
    r"""(?i)(\b(?:authorization["']?\s*[:=]\s*["']?(?:(?:basic|bearer|token)\s+)?|bearer\s+)"""
    r"""|(?:password|passwd|secret|token|api_?-?key|access_?-?key(?:_?-?id)?)(?:["']\s*:\s*["']|=["']?))"""
    r"""([^\s"'&;,]{4,})"""
)
"""A secret that a program names as such: ``password=…``, ``"token": "…"``, ``Authorization: Bearer …``."""

_SAID_WORD = re.compile("auth|bearer|passw|secret|token|key")
"""One of these is in whatever ``_SAID`` finds, as ``str.casefold`` writes it."""

# SQLAlchemy ends a password at the first @. One that was not written as %40 makes a host of the rest, which is as secret.
_LOGIN = re.compile(r"^([\w+.-]+://[^:/]*):([^@]*(?:@(?:[^?]|\?(?![\w.]+=))*)?)@", re.DOTALL)
_DATABASE_OPTION = re.compile(rf"([?&]{_SECRET_NAME}=)([^&]*)", re.IGNORECASE)
_STRAY_AT = re.compile(r"[\w+.-]+://[^:/]*:[^@]*@[^/?]*@", re.DOTALL)
_ODBC_PASSWORD = re.compile(r"(?:pwd|password)\s*=\s*(\{[^}]*\}|[^;]*)", re.IGNORECASE)


def shown(text: str) -> str:
    """An address, or a message that holds some, without user names, passwords, signatures and tokens.

    A remote may have written it, to any length; so nothing here takes more than one look at each of its characters.
    """
    # Each download asks for this, and hardly any address has a secret: what cannot match is not searched for.
    if "@" in text and "://" in text:
        text = _WORD.sub(_without_logins, text)
    if "=" in text:
        text = _OPTION.sub(_without_value, text)
    if not _SAID_WORD.search(text.casefold()):
        return text
    return _SAID.sub(lambda found: found[0] if found[2] == HIDDEN else found[1] + HIDDEN, text)


def _without_logins(found: re.Match[str]) -> str:
    """A word with the logins of its addresses hidden. A password may have any character in it, such as the / of an object
    store's secret, so it ends at the last @ of the word; rather is an address told too short than a password shown."""
    word = found[0]
    last = max((end.start() for end in _LOGIN_ENDS.finditer(word)), default=-1)
    parts = []
    done = 0
    while (begin := word.find("://", done) + 3) > 2:
        parts.append(word[done:begin])
        authority = _AUTHORITY.match(word, begin)
        assert authority is not None
        done = begin
        if word.find(":", begin, authority.end()) >= 0 and last > begin:
            done = last + 1
        elif authority[0] and word[authority.end() : authority.end() + 1] == "@":
            done = authority.end() + 1
        if done > begin:
            parts.append(f"{HIDDEN}@")
    return "".join([*parts, word[done:]])


def _without_value(found: re.Match[str]) -> str:
    mark, name, _ = found.groups()
    return f"{mark}{name}={HIDDEN}" if _IS_SECRET.fullmatch(unquote_plus(name)) else found[0]


def visible(text: str) -> str:
    """A text with its control characters made visible, those that turn the direction of writing too: whatever metadata,
    documents and servers put into names and errors, it cannot steer a terminal or pass for a line of ours."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else "\\n" if c == "\n" else f"\\x{ord(c):02x}" for c in text)


def said(text: str, longest: int = LONGEST) -> str:
    """What a server has said, as it can stand in a message: in one line, without secrets, with nothing that steers what
    shows it, and no more of it than a person reads."""
    text = visible(" ".join(shown(text).split()))
    return text if len(text) <= longest else f"{text[:longest]}…"


def without_login_of(address: str, message: str) -> str:
    """What was said about an address, by somebody who may repeat its login without the rest of it."""
    if (found := _LOGIN_OF.search(address)) is None:
        return message
    login = found[1]
    if "/" in login and ":" not in login:  # an @ within a path
        return message
    written = {login, login.partition(":")[2]}
    for secret in sorted({*written, *map(unquote, written)}, key=len, reverse=True):
        if len(secret) >= SHORTEST:
            message = message.replace(secret, HIDDEN)
    return message


def without_password(url: str) -> str:
    """A database URL that can be shown, and that stays the same when a password is changed."""
    return _DATABASE_OPTION.sub(r"\1", _LOGIN.sub(r"\1@", url))


def without_secrets_of(url: str, message: str) -> str:
    """What was said about a database, its URL without password and nothing of what is secret in it."""
    message = message.replace(url, without_password(url))
    for secret in sorted(_secrets(url), key=len, reverse=True):
        message = message.replace(secret, HIDDEN)
    return message


def has_stray_at(url: str) -> bool:
    """Whether the password of a database URL has an ``@`` that is not written as ``%40``."""
    return bool(_STRAY_AT.match(url))


def _secrets(url: str) -> set[str]:
    """Every form in which a driver may repeat what is secret: as it was written and as it was meant."""
    written = [value for _, value in _DATABASE_OPTION.findall(url)]
    if login := _LOGIN.match(url):
        pieces = login[2].split("@")
        # Where an @ is not encoded, a driver takes the tail for a host, or a part of it.
        written += ["@".join(pieces[start:]) for start in range(len(pieces))]
        written += [
            part for piece in pieces[: len(pieces) if len(pieces) > 1 else 0] for part in re.split("[/:]", piece)
        ]
    meant = [decoded for value in written for decoded in (unquote(value), unquote_plus(value))]
    inside = [value for text in meant for value in _ODBC_PASSWORD.findall(text)]
    return {value for value in (*written, *meant, *inside, *(one.strip("{}") for one in inside)) if value}
