"""Evidence about the location of noisy values whose scale is only estimated: likelihood ratios of Student's t."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from iris_operator.analysis.evidence.logspace import Floats

# Few degrees of freedom: an outlier, such as an interval in which a pod stood still, is worth little evidence.
FREEDOM = 5.0
# Margins beyond so many scales are taken as this many.
_MAX_MARGIN = 5.0


def log_above(value: Any, scale: Any, effects: Any) -> Floats:
    """log e for "the location is `effects` above 0" against "it is at most 0"; effects along a last axis of their own.

    The ratio of two t densities, which does not fall again beyond its largest value, over what that adds to its
    expectation: an e-value for noise of that distribution and scale, and, as a test integrates, for normal noise whose
    standard deviation is up to a tenth above the scale. It is bounded in `value`, so that no single value decides.
    Source: Pérez-Ortiz, Lardy, de Heide & Grünwald, arXiv 2208.07610, with a known scale.
    """
    shift = effects / np.asarray(scale)[..., None]
    return _log_ratio((np.asarray(value) / scale)[..., None], shift)


def log_below(value: Any, scale: Any, margin: Any) -> Floats:
    """log e for "the location is 0" against "it is at least `margin`" (above 0); arrays that broadcast."""
    shift = np.minimum(np.asarray(margin) / scale, _MAX_MARGIN)
    return _log_ratio(shift - np.asarray(value) / scale, shift)


def _log_ratio(z: Floats, shift: Floats) -> Floats:
    """log of t(z - shift) / t(z), constant from its largest value on, normalized to an expectation of 1."""
    largest = (shift + np.sqrt(shift * shift + 4.0 * FREEDOM)) / 2.0
    peak = _log_density_ratio(largest, shift)
    # Of the ratio itself up to its largest value, and of the constant beyond.
    expected = _below(largest - shift) + np.exp(peak) * _below(-largest)
    return np.asarray(_log_density_ratio(np.minimum(z, largest), shift) - np.log(np.maximum(expected, 1.0)))


def _log_density_ratio(z: Floats, shift: Floats) -> Floats:
    return np.asarray((FREEDOM + 1.0) / 2.0 * (np.log1p(z * z / FREEDOM) - np.log1p((z - shift) ** 2 / FREEDOM)))


def _below(z: Floats) -> Floats:
    """The distribution function of Student's t with 5 degrees of freedom. Source: Abramowitz & Stegun, 26.7.3."""
    angle = np.arctan(z / math.sqrt(FREEDOM))
    cosine = np.cos(angle)
    return np.asarray(0.5 + (angle + np.sin(angle) * (cosine + 2.0 / 3.0 * cosine**3)) / math.pi)
