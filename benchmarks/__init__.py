"""Measures mmmeta against the bare work: ``python -m benchmarks --files 10000``."""
