"""What long work tells: how far it is while it goes on, and at its end what went wrong, however much that was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Progress = Callable[[str, int, int | None], None]
"""Called with what is being done, how many are done, and how many there are, None where unknown."""

T = TypeVar("T")


class FirstFew(Generic[T]):
    """The first of many, and how many there were: a report names some, and its size does not grow with a bad archive.

    Attributes:
        named: the first ones, in the order in which they came; ``most`` of them at most.
        count: how many came, those that are not named included.
    """

    def __init__(self, most: int) -> None:
        self.named: list[T] = []
        self.count: int = 0
        self._most = most

    def add(self, one: T) -> None:
        """Count it, and keep it if it is one of the first."""
        self.count += 1
        if len(self.named) < self._most:
            self.named.append(one)
