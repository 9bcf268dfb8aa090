"""Metadirs of mmmeta 0.1-0.4: what they hold, read without changing them, and a metadir of today made of it."""
