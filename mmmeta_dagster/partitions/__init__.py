"""Partitions of a job: parts of its files that a person can ask for."""
