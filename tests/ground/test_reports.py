"""What long work tells."""

from __future__ import annotations

from mmmeta.reports import FirstFew


def test_the_first_few_are_named_and_all_are_counted() -> None:
    """In the order in which they came."""
    problems: FirstFew[str] = FirstFew(2)
    assert (problems.named, problems.count) == ([], 0)
    for word in ("one", "two", "three"):
        problems.add(word)
    assert problems.named == ["one", "two"]
    assert problems.count == 3
