"""``File``: one file's metadata and local state as a mapping, with ``save()``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any

from mmmeta.catalog.catalog import Catalog, FileRow
from mmmeta.catalog.derived import derived_keys
from mmmeta.documents.rendering import Remote
from mmmeta.errors import MmmetaError, RemoteKeyError, near_misses
from mmmeta.files.claim import FileClaim
from mmmeta.values import RESERVED_PREFIX, SEPARATOR, clean_and_flatten

SaveFile = Callable[[str, dict[str, Any], set[str]], None]
"""Writes changed and removed fields of the file with this unique value into the state db."""


class File(MutableMapping[str, Any]):
    """One file. Reads as the remote's metadata with the client's own values over it.

    Setting a key is the client's affair: it stays in the state db, is never sent anywhere, and hides (*shadows*) a key
    of that name that the remote has; ``file.meta`` always reads what the remote sent. Nothing is written before
    ``save()``, which writes the fields that were set and no others.

    An object is flattened, as the remote's are: ``file["review"] = {"by": "Ada"}`` sets ``review:by``, which is read and
    found by that name. It takes the place of all that the client has set as ``review`` and below it.

    ``file[key]`` is what a row of a table gives: None where other files have the key and this one has not, KeyError with
    the near misses where none has. ``key in file``, ``get``, ``file.meta`` and iteration say what the file itself has;
    mmmeta's own columns (``__meta_added``) are read by name and not iterated over.

    Attributes:
        unique_value: the text that identifies the file, as the ledger and the command line name it.
        meta: the remote's metadata, read-only.
        local: what this client has set, read-only.
        remote: the URL templates of config.yml filled for this file, as attributes: ``file.remote.url``.
        claim: where a job handed the file out: its fencing token, the attempt, and the receipt for a SQL target.
    """

    __slots__ = (
        "_catalog",
        "_changed",
        "_local",
        "_meta",
        "_removed",
        "_save",
        "_system",
        "_templates",
        "claim",
        "unique_value",
    )

    def __init__(
        self,
        row: FileRow,
        catalog: Catalog,
        templates: Mapping[str, str],
        save: SaveFile,
        claim: FileClaim | None = None,
    ) -> None:
        self.claim: FileClaim | None = claim
        self.unique_value: str = row.unique_value
        self._meta = row.remote
        self._local = row.local
        self._system = row.system
        self._catalog = catalog
        self._templates = templates
        self._save = save
        self._changed: dict[str, Any] = {}
        self._removed: set[str] = set()

    @property
    def meta(self) -> MappingProxyType[str, Any]:
        return MappingProxyType(self._meta)

    @property
    def local(self) -> Mapping[str, Any]:
        return MappingProxyType(self._local)

    @property
    def remote(self) -> Remote:
        return Remote(self._templates, self.get)

    @property
    def deleted(self) -> bool:
        """Whether the file is marked deleted."""
        return bool(self._system["__deleted"])

    @property
    def deleted_reason(self) -> str | None:
        """Why it was deleted, in words."""
        reason = self._system["__deleted_reason"]
        return None if reason is None else str(reason)

    @property
    def revision(self) -> int:
        """Revision of the metadata db that brought this version."""
        return int(self._system["__rev"] or 0)

    @property
    def source(self) -> str | None:
        """Path of the metadata file below the server's files root; None if the file was inserted from Python."""
        source = self._system["__source"]
        return None if source is None else str(source)

    @property
    def derived(self) -> frozenset[str]:
        """The keys whose values the server has derived from the document, for its metadata had none of its own."""
        return derived_keys(self._system.get("__derived"))

    @property
    def fingerprint(self) -> str:
        """Names this version of the remote's metadata, in hexadecimal; empty when it vanished at the remote."""
        return bytes(self._system["__fingerprint"] or b"").hex()

    def save(self) -> None:
        """Write the fields that were set or removed since the file was read; durable when it returns.

        Raises:
            StateDbError: the state db cannot be written.
        """
        if self._changed or self._removed:
            self._save(self.unique_value, self._changed, self._removed)
            self._changed = {}
            self._removed = set()

    def __getitem__(self, key: str) -> Any:
        if key in self._local:
            return self._local[key]
        if key in self._meta:
            return self._meta[key]
        if key in self._system:
            return self._system[key]
        if self._catalog.knows(key):
            return None
        raise KeyError(
            f"no file has the key {key!r}.{near_misses(str(key), self._catalog.keys)} file.get({key!r}) gives None instead"
        )

    def get(self, key: str, default: Any = None) -> Any:
        """What the file itself has under this key, else the default."""
        if key not in self:  # what only other files have reads as None
            return default
        return self[key]

    def setdefault(self, key: str, default: Any = None) -> Any:
        """What the file itself has under this key; where it has none, the default is set."""
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key: str, *default: Any) -> Any:
        """Remove what the client has set under this key and return it; the default, if one is given, where the file has
        no such key.

        Raises:
            RemoteKeyError: the key comes from the remote.
            KeyError: the file has no such key, and no default is given.
        """
        if len(default) > 1:
            raise TypeError(f"pop takes a key and at most one default, not {1 + len(default)} arguments")
        if key not in self:
            if default:
                return default[0]
            raise KeyError(key)
        value = self[key]
        del self[key]
        return value

    def clear(self) -> None:
        """No file can be emptied.

        Raises:
            RemoteKeyError: always.
        """
        raise RemoteKeyError("what comes from the remote stays; del file[key] takes back what was set here")

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str) or not key or key.startswith(RESERVED_PREFIX):
            raise MmmetaError(f"{key!r} cannot be set: a key is text that does not begin with {RESERVED_PREFIX!r}")
        values = clean_and_flatten({key: value}).values
        if self._catalog.unique in values:
            raise MmmetaError(f"{self._catalog.unique!r} identifies the file and cannot be set")
        if isinstance(value, Mapping):
            below = key + SEPARATOR
            for own in [name for name in self._local if name == key or name.startswith(below)]:
                if own not in values:
                    del self[own]
        self._local.update(values)
        self._changed.update(values)
        self._removed.difference_update(values)

    def __delitem__(self, key: str) -> None:
        if key not in self._local:
            if key in self._meta:
                raise RemoteKeyError(f"{key!r} comes from the remote; set file[{key!r}] = None to shadow it")
            raise KeyError(key)
        del self._local[key]
        self._changed.pop(key, None)
        self._removed.add(key)

    def __iter__(self) -> Iterator[str]:
        yield from self._meta
        for key in self._local:
            if key not in self._meta:
                yield key

    def __len__(self) -> int:
        return len(self._meta.keys() | self._local.keys())

    def __contains__(self, key: object) -> bool:
        return key in self._local or key in self._meta or key in self._system

    def __repr__(self) -> str:
        return f"<File {self.unique_value} ({len(self)} keys{', deleted' if self.deleted else ''})>"
