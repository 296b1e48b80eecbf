"""Flowers to ask about: seeded, within the range that the models were trained on, and never the same one twice."""

from collections.abc import Iterator
from typing import Final

# Hundredths of a centimetre: the smallest and the largest of each length in the data set.
RANGES: Final = ((430, 790), (200, 440), (100, 690), (10, 250))
_WIDTHS: Final = tuple(high - low + 1 for low, high in RANGES)
COUNT: Final = _WIDTHS[0] * _WIDTHS[1] * _WIDTHS[2] * _WIDTHS[3]
# The steps of the golden ratio spread evenly at every length of the walk. It shares no factor with COUNT, so the
# walk meets all of the twelve thousand million flowers before the first one comes again.
_STRIDE: Final = 7_658_454_344

Flower = tuple[float, float, float, float]


def flowers(seed: int) -> Iterator[Flower]:
    """Lengths in cm, two decimals, distinct for COUNT flowers. Another seed begins at another place of the walk."""
    place = seed * _STRIDE * 50_000_000 % COUNT
    while True:
        yield _at(place)
        place = (place + _STRIDE) % COUNT


def _at(place: int) -> Flower:
    place, fourth = divmod(place, _WIDTHS[3])
    place, third = divmod(place, _WIDTHS[2])
    first, second = divmod(place, _WIDTHS[1])
    return (
        (RANGES[0][0] + first) / 100,
        (RANGES[1][0] + second) / 100,
        (RANGES[2][0] + third) / 100,
        (RANGES[3][0] + fourth) / 100,
    )
