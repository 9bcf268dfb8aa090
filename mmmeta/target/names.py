"""What a column of a SQL target may be called, in every database that jobs load into."""

from __future__ import annotations

OVERFLOW = "_mmmeta_more"
"""The column of the keys that got none of their own: a JSON object, or NULL."""

NAME_BYTES = 63
"""PostgreSQL cuts longer names silently; the same limit everywhere, so that a name is the same everywhere."""

SYSTEM_NAMES = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", OVERFLOW})
"""Names that PostgreSQL keeps for itself in every table, and ours."""

DISTURBING = ("%(", "__[")
"""What SQLAlchemy takes for a parameter of its own, even inside a quoted name."""
