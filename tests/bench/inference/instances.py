"""Instances to predict: seeded, within the range of the training data, and distinct."""

from collections.abc import Iterator
from typing import Final

# Hundredths of a centimetre: the smallest and the largest of each length in the data set.
RANGES: Final = ((430, 790), (200, 440), (100, 690), (10, 250))
_WIDTHS: Final = tuple(high - low + 1 for low, high in RANGES)
COUNT: Final = _WIDTHS[0] * _WIDTHS[1] * _WIDTHS[2] * _WIDTHS[3]
# Steps of the golden ratio are spread evenly for every length of the sequence. The stride is coprime with COUNT, so the
# sequence contains all twelve billion instances before the first one is repeated.
_STRIDE: Final = 7_658_454_344

Instance = tuple[float, float, float, float]


def instances(seed: int) -> Iterator[Instance]:
    """Lengths in cm, two decimals, distinct for COUNT instances. Another seed begins elsewhere in the sequence."""
    position = seed * _STRIDE * 50_000_000 % COUNT
    while True:
        yield _instance_at(position)
        position = (position + _STRIDE) % COUNT


def _instance_at(position: int) -> Instance:
    position, fourth = divmod(position, _WIDTHS[3])
    position, third = divmod(position, _WIDTHS[2])
    first, second = divmod(position, _WIDTHS[1])
    return (
        (RANGES[0][0] + first) / 100,
        (RANGES[1][0] + second) / 100,
        (RANGES[2][0] + third) / 100,
        (RANGES[3][0] + fourth) / 100,
    )
