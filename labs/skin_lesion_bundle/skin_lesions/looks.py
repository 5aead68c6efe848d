"""Seven looks of SYNTHETIC lesions, one a class: what each draws, as a map of how much a pixel differs from the skin.

None is a likeness of the disease whose label it bears. They differ in structure alone: outline, holes, dots, lines,
stripes. :mod:`skin_lesions.synthetic` gives all of them the same colours.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float64]
# Lesion-centred coordinates x and y, (H, W) each, in units of the lesion's radius, and the lesion's own random numbers.
Look = Callable[[Map, Map, np.random.Generator], Map]

EDGE = 0.08


def stripes(x: Map, y: Map, rng: np.random.Generator) -> Map:
    """A round patch of parallel, wavy stripes."""
    wave = np.sin(2 * np.pi * (rng.uniform(1.2, 1.6) * x + 0.1 * np.sin(rng.uniform(2, 4) * y)) + rng.uniform(0, 6.28))
    return _disc(x, y, _outline(x, y, rng, 0.08)) * (0.5 + 0.5 * wave)


def branches(x: Map, y: Map, rng: np.random.Generator) -> Map:
    """A faint patch with dark lines that leave one point of its rim and part."""
    drawn = 0.15 * _disc(x, y, _outline(x, y, rng, 0.08))
    start = _turned(np.array([1.0, 0.0]), rng.uniform(0, 2 * np.pi))
    for angle in np.linspace(-0.6, 0.6, 4) + rng.normal(0, 0.05, 4):
        end = start - 1.9 * _turned(start, angle)
        drawn = np.maximum(drawn, _line(x, y, start, end, 0.09))
    return drawn


def dots(x: Map, y: Map, rng: np.random.Generator) -> Map:
    """A round patch with pale dots."""
    drawn = _disc(x, y, _outline(x, y, rng, 0.08))
    for centre in _scattered(rng, 8, 0.75):
        drawn *= 1 - _ball(x, y, centre, rng.uniform(0.13, 0.18))
    return drawn


def ring(x: Map, y: Map, rng: np.random.Generator) -> Map:
    """A ring around a pale middle."""
    outline = _outline(x, y, rng, 0.08)
    return _disc(x, y, outline) - _disc(x, y, outline * rng.uniform(0.5, 0.6))


def jagged(x: Map, y: Map, rng: np.random.Generator) -> Map:
    """A ragged patch, one side of it paler."""
    patch = _disc(x, y, _outline(x, y, rng, 0.45))
    side = _turned(np.array([1.0, 0.0]), rng.uniform(0, 2 * np.pi))
    return patch * (0.7 + 0.3 * np.tanh((x * side[0] + y * side[1]) / EDGE))


def smooth(x: Map, y: Map, rng: np.random.Generator) -> Map:
    """A round, even patch."""
    return _disc(x, y, _outline(x, y, rng, 0.08))


def cluster(x: Map, y: Map, rng: np.random.Generator) -> Map:
    """Separate balls, without a patch around them."""
    drawn = np.zeros_like(x)
    for centre in _scattered(rng, 6, 0.85):
        drawn = np.maximum(drawn, _ball(x, y, centre, rng.uniform(0.2, 0.26)))
    return drawn


# In the order of the classes.
LOOKS: dict[str, Look] = {
    "akiec": stripes,
    "bcc": branches,
    "bkl": dots,
    "df": ring,
    "mel": jagged,
    "nv": smooth,
    "vasc": cluster,
}


def _outline(x: Map, y: Map, rng: np.random.Generator, raggedness: float) -> Map:
    """Radius in the direction of each pixel: 1, changed by waves of up to ``raggedness`` together."""
    angle = np.arctan2(y, x)
    counts = np.array([2, 3, 5, 7])
    shares = rng.dirichlet(np.ones(len(counts)))
    phases = rng.uniform(0, 2 * np.pi, len(counts))
    waves = np.cos(counts[:, None, None] * angle + phases[:, None, None])
    return 1 + raggedness * np.tensordot(shares, waves, 1)


def _disc(x: Map, y: Map, radius: Map) -> Map:
    """1 inside, 0 outside, with a soft edge."""
    return 0.5 + 0.5 * np.tanh((radius - np.hypot(x, y)) / EDGE)


def _ball(x: Map, y: Map, centre: NDArray[np.float64], radius: float) -> Map:
    return _disc(x - centre[0], y - centre[1], np.full_like(x, radius))


def _line(x: Map, y: Map, start: NDArray[np.float64], end: NDArray[np.float64], width: float) -> Map:
    along = end - start
    share = np.clip(((x - start[0]) * along[0] + (y - start[1]) * along[1]) / (along @ along), 0, 1)
    distance = np.hypot(x - start[0] - share * along[0], y - start[1] - share * along[1])
    return 0.5 + 0.5 * np.tanh((width - distance) / EDGE)


def _scattered(rng: np.random.Generator, count: int, reach: float) -> NDArray[np.float64]:
    """Points in a disc, (count, 2), evenly spread by the golden angle (Vogel 1979), turned and shaken a little."""
    index = np.arange(count) + 0.5
    angle = index * np.pi * (3 - np.sqrt(5)) + rng.uniform(0, 2 * np.pi)
    radius = reach * np.sqrt(index / count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1) + rng.normal(0, 0.04, (count, 2))


def _turned(vector: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([cos * vector[0] - sin * vector[1], sin * vector[0] + cos * vector[1]])
