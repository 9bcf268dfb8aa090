"""Partitions of a job: parts of its files that a person can ask for.

``definition`` says which there are and which files belong to each, ``after_run`` tells Dagster of those that a run met.
"""
