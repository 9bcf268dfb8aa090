"""The assets of a metadir, and the step behind each."""
