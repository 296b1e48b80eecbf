"""Judges a soak test: pure functions of its measurements."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, linear_regression
from typing import Final

FLAT: Final = 0.03
# Of the whole time. In half an hour: minutes 5 to 10, and the last 5.
_EARLY: Final = (1 / 6, 1 / 3)
_LATE: Final = (5 / 6, 1.0)
_HELD: Final = 0.99
_SECONDS_AN_HOUR: Final = 3_600


@dataclass(frozen=True, slots=True)
class Sample:
    """`at` seconds after the load began: memory in bytes, waiting records, and counts since the start."""

    at: float
    resident: int
    proportional: int
    backlog: int
    sent: int
    acknowledged: int
    failed: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Flatness:
    """Means in bytes of an early and of the last part of the time, and the slope in between in bytes an hour."""

    early: float
    late: float
    slope: float

    @property
    def change(self) -> float:
        """The growth from the early part to the last one, as a share of 1."""
        return self.late / self.early - 1


@dataclass(frozen=True, slots=True)
class Records:
    """Predictions in the database at the end, and those acknowledged to callers."""

    acknowledged: int
    recorded: int
    different: int
    drain_seconds: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One criterion: the measured value, the required one, and whether it is met."""

    name: str
    seen: str
    wanted: str
    good: bool


def flatness(samples: Sequence[Sample], seconds: float) -> Flatness:
    """How the resident memory moved. Raises ValueError when a part of the time has no sample."""
    early, late = ([sample for sample in samples if _within(sample, part, seconds)] for part in (_EARLY, _LATE))
    if not early or not late:
        raise ValueError("too few samples to tell whether memory is flat")
    settled = [sample for sample in samples if sample.at >= _EARLY[0] * seconds]
    slope = linear_regression([sample.at for sample in settled], [sample.resident for sample in settled]).slope
    return Flatness(
        fmean(sample.resident for sample in early),
        fmean(sample.resident for sample in late),
        slope * _SECONDS_AN_HOUR,
    )


def _within(sample: Sample, part: tuple[float, float], seconds: float) -> bool:
    # The last sample is taken when the time is over, by the clock of another process.
    return part[0] * seconds <= sample.at and (sample.at < part[1] * seconds or part[1] == 1)


def findings(last: Sample, flat: Flatness, records: Records, rate: float, seconds: float) -> list[Finding]:
    """Everything that a soak must show."""
    held = last.sent / seconds
    once = records.acknowledged == records.recorded == records.different
    return [
        Finding(
            "memory, late against early", f"{flat.change:+.2%}", f"within {FLAT:.0%}", good=abs(flat.change) <= FLAT
        ),
        Finding("requests that failed", f"{last.failed}", "0", good=last.failed == 0),
        Finding("rate sent", f"{held:,.0f}/s", f"{rate:,.0f}/s", good=held >= _HELD * rate),
        Finding(
            "acknowledged and recorded",
            f"{records.acknowledged:,} and {records.recorded:,}"
            + ("" if records.recorded == records.different else f", {records.different:,} different"),
            "the same, once",
            good=once,
        ),
    ]
