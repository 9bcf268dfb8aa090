"""What counts as no document and no metadata: patterns in gitignore's language, and the list that holds without any.

Patterns are relative to the files root, and the last one that matches decides, so that ``!`` takes back what an earlier one
leaves out. ``metadata/generate/ignored`` applies them.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathspec import RegexPattern

LITTER = (
    # macOS
    "._*",
    ".DS_Store",
    ".AppleDouble/",
    ".AppleDB/",
    ".AppleDesktop/",
    "__MACOSX/",
    ".localized",
    ".apdisk",
    ".VolumeIcon.icns",
    ".com.apple.*",
    "Icon[\r]",
    ".DocumentRevisions-V100/",
    ".Spotlight-V100/",
    ".TemporaryItems/",
    ".fseventsd/",
    # Windows
    "Thumbs.db",
    "thumbs.db",
    "THUMBS.DB",
    "ehthumbs.db",
    "desktop.ini",
    "Desktop.ini",
    "DESKTOP.INI",
    "$RECYCLE.BIN/",
    "System Volume Information/",
    # Linux desktops and network drives
    ".Trash*",
    ".directory",
    ".fuse_hidden*",
    ".nfs*",
    "lost+found/",
    "@eaDir/",
    "\\#recycle/",
    # half a download
    "*.part",
    "*.partial",
    "*.filepart",
    "*.crdownload",
    "*.opdownload",
    "*.download",
    "*.aria2",
    "*.tmp",
    "*.PART",
    "*.TMP",
    # what syncs folders
    ".stfolder/",
    ".stversions/",
    ".syncthing.*",
    ".sync_*.db*",
    ".owncloudsync.log*",
    ".dropbox",
    ".dropbox.cache/",
    # editors and office programs, while a document is open or was changed
    "*~",
    "~$*",
    ".~lock.*#",
    ".#*",
    "\\#*#",
    ".*.sw[a-p]",
    ".goutputstream-*",
    # what keeps versions
    ".git/",
    ".hg/",
    ".svn/",
)
"""What desktops, browsers and editors leave behind. It comes before the patterns of config.yml, so that ``!`` takes one back."""

_CLOSED = re.compile(r"\\.|\[[!^]?\]?[^\]]*\]")
_NEEDLESS_ESCAPE = re.compile(r"\\[A-Za-z0-9]")


def check_pattern(text: str) -> str:
    """A pattern as it stands in config.yml.

    Raises:
        ValueError: it can match nothing, or means something else than its writer thinks; says what to write.
    """
    if not text.strip():
        raise ValueError("the pattern is empty. Write one, such as drafts/ or *.bak, or take the entry out")
    if any(sign in text for sign in "\n\r\0"):
        raise ValueError("there is one pattern an entry. Make an entry of each line")
    if text.startswith("#"):
        raise ValueError(
            f"in gitignore's language {text!r:.80} is a comment. Write '\\{text[:70]}' if a name begins so"
        )
    folders = text.removeprefix("!").removeprefix("/").removesuffix("/").split("/")
    if len(text) > 2 and not {"", ".", ".."}.isdisjoint(folders):
        raise ValueError(
            f"{text!r:.80} matches nothing, for a path has no folders '.', '..' or without a name. Patterns are relative "
            "to the files root: /drafts/ is the folder there, drafts/ one anywhere"
        )
    if _NEEDLESS_ESCAPE.search(text):
        raise ValueError(f"in {text!r:.80} the backslash is an escape. Folders are divided by /")
    try:
        if "[" in _CLOSED.sub("", text):
            raise ValueError("a bracket is left open")  # to git it matches nothing, to pathspec that depends
        compile_pattern(text)
    except ValueError:
        raise ValueError(
            f"{text!r:.80} is no pattern in gitignore's language (https://git-scm.com/docs/gitignore): is a bracket left "
            "open, the name missing, a backslash at the end? Put a backslash before [ to mean the sign itself"
        ) from None
    return text


def compile_pattern(text: str) -> RegexPattern:
    """The pattern as pathspec reads it; ``include`` says whether it leaves out (True) or takes back.

    Raises:
        ValueError: it means nothing.
    """
    # Only where it is needed: it takes longer than reading a small config.yml.
    from pathspec import GitIgnoreSpec

    text = unicodedata.normalize("NFC", text)
    if text.endswith("/**/"):
        text += "*/"  # the same to git; pathspec would take the folder itself as well
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # re warns of brackets that it reads in another way than git
        try:
            (pattern,) = GitIgnoreSpec.from_lines([text]).patterns
        except (ValueError, re.error, Warning) as error:
            raise ValueError(str(error)) from None
    if pattern.include is None:
        raise ValueError("it means nothing")
    return pattern
