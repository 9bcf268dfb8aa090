"""What stands at a place where no job has put anything: nobody knows what it is, so no document takes its place."""

from __future__ import annotations

import os
from pathlib import Path

from mmmeta.documents.local import chunks, open_regular
from mmmeta.errors import DownloadError


class Standing:
    """Whatever is at a path now."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def is_there(self) -> bool:
        """Whether anything is, be it a link to nowhere."""
        return os.path.lexists(self._path)

    def is_same(self, document: Path) -> bool:
        """Whether just this document stands there, byte for byte; False where nothing does.

        Raises:
            DownloadError: something else does.
        """
        if not self.is_there:
            return False
        if not self._is_same(document):
            raise self.refused()
        return True

    def _is_same(self, document: Path) -> bool:
        try:
            there = open_regular(self._path)
        except OSError:
            return False
        with there, open_regular(document) as here:
            if os.fstat(there.fileno()).st_size != os.fstat(here.fileno()).st_size:
                return False
            return all(bytes(one) == bytes(other) for one, other in zip(chunks(there), chunks(here), strict=True))

    def refused(self) -> DownloadError:
        """The error that names it, and says what to do."""
        return DownloadError(
            f"{self._path}: something else stands there, which no job has put there; was left. Move it away, or give the "
            "job another `to` or `name`"
        )
