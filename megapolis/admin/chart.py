"""A bar chart of numbers per day, as the first page draws it in SVG."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

HEIGHT = 100
SMALLEST = 2
"""The height of the lowest bar: one is not nothing, however tall the others are."""


@dataclass(frozen=True)
class Bar:
    """A day. Lengths are in the units of the drawing: a day is 10 wide, all of it HEIGHT high."""

    day: date
    count: int
    x: int
    y: int
    height: int


@dataclass(frozen=True)
class Chart:
    """The numbers of consecutive days."""

    caption: str
    counts: Mapping[date, int]

    @property
    def highest(self) -> int:
        """The number of the best day."""
        return max(self.counts.values())

    @property
    def sum(self) -> int:
        """The number of all days."""
        return sum(self.counts.values())

    @property
    def summary(self) -> str:
        """The numbers in words, for the eye and for who cannot see the bars."""
        return (
            f"{self.caption}: {self.sum:,} in {len(self.counts)} days, "
            f"{self.highest:,} on the best day"
        )

    @property
    def days(self) -> list[date]:
        """The days, in order."""
        return list(self.counts)

    @property
    def width(self) -> int:
        """The width of the drawing."""
        return 10 * len(self.counts)

    @property
    def bars(self) -> Iterator[Bar]:
        """The bars from left to right."""
        for number, (day, count) in enumerate(self.counts.items()):
            height = max(SMALLEST, round(HEIGHT * count / self.highest)) if count else 0
            yield Bar(day, count, 10 * number, HEIGHT - height, height)
