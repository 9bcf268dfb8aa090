"""What a client has merged, as a ledger that several clients share is told of it."""

from __future__ import annotations

from typing import NamedTuple


class Copy(NamedTuple):
    """One client's copy of the metadata.

    Attributes:
        cache: names the client's own database, which may be made anew at any time.
        metadata_id, revision: of the metadata db that was merged.
        state_revision: of the client's own database; no other one's can be compared with it.
        own_revision: of what clients have set, as far as it was brought here.
    """

    cache: str
    metadata_id: str
    revision: int
    state_revision: int
    own_revision: int = 0
