"""The change log: what was published as small files that are written once, and ``head.json``, which names them. See docs/format.md."""
