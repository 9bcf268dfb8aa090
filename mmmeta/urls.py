"""Which of the texts that people write are meant for URLs, however clumsily they are written.

What is no URL is a path, and a path is made where it is not there. So what was meant for a URL must not pass for one: each
machine would have a folder of its own, with the password in its name. Nothing here repeats the text, for the same reason.
"""

from __future__ import annotations

import re

_AROUND = " \t\r\n\v\f\u00a0\u200b\ufeff"
"""What is around a value unseen."""

_QUOTES = "\"'`<>\u2018\u2019\u201c\u201d"

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

_MEANT = re.compile(
    r"""
      .*://
    | [a-z][\w.+-]+\s*:                                                         # a scheme; one letter alone is a drive
    | (?:postgres|pgsql|psycopg|mysql|mariadb|sqlite|mssql|oracle)\w*(?:\+|//|@)
    | (?:s3|gs|gcs|az|abfs|sftp|ftp|https?|file)//
    | [^/\\]+:[^/\\]*@                                                          # user:password@host
    | //[^/]*@
    | (?:host|hostaddr|port|dbname|user|password|service)\s*=                   # libpq's own way
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL | re.ASCII,
)


def without_blanks(text: str) -> str:
    """A URL without the blanks around it; another text as it is, for a file may be called so."""
    bare = text.strip(_AROUND)
    return bare if _URL.match(bare) else text


def why_no_path(text: str) -> str | None:
    """Why a text cannot be meant for a path; None if it can. Something that is understood as a URL is to be seen to before."""
    bare = text.strip(_AROUND)
    inner = bare.strip(_QUOTES + _AROUND)
    if not _MEANT.match(inner):
        return None
    if inner != bare:
        return "has quotes around it, which are part of the value (`docker --env-file` hands them on). Leave them out"
    return "looks like a URL and is none that is understood. If it is a path, write ./ before it"
