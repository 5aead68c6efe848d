"""How far the scores of a test part can be trusted: percentile bootstrap intervals over its lesions.

Lesions are drawn with replacement, as often as there are lesions, each with all its images: images of one lesion are no
independent evidence. A measure is taken of each such sample, and the interval holds the middle 95 % of its values
(Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13). It tells how the score would vary with other
lesions of the same kind, not with another training, and is too narrow for a few lesions.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from skin_lesions.scores import Floats

RESAMPLES = 2000
LEVEL = 0.95
SEED = 0
# So many samples are weighed at a time: 5 MB for the 1,500 images of HAM10000's test part.
_CHUNK = 400

Draws = dict[str, Floats]


def draw(
    measures: Callable[[NDArray[np.int64]], Draws],
    lesions: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Draws:
    """Measures in each bootstrap sample.

    Two models' samples are of the same lesions, and their differences thus paired, where the images, their order and
    the seed are the same.

    Args:
        measures: takes how often each image is in each sample, (B, N), and gives a name to (B,) or (B, K).
        lesions: the lesion of each image, N of them.
        resamples: number of samples.
        seed: of the draws.

    Returns:
        What ``measures`` gives, of all samples.

    Raises:
        ValueError: the images are of fewer than two lesions, of which nothing can be said.
    """
    names, lesion_of = np.unique(np.asarray(lesions), return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"{len(names)} lesion(s) of {len(lesion_of)} images: an interval needs two lesions at least.")
    chunks = [measures(times[:, lesion_of]) for times in _times_drawn(len(names), resamples, seed)]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def interval(values: Floats, level: float = LEVEL) -> Floats:
    """Bounds of the middle ``level`` of values along the first axis, (2,) or (2, K); NaN where all values are.

    Args:
        values: one a bootstrap sample, (B,) or (B, K); NaN where a sample has none.
        level: share that the interval holds.
    """
    tail = 100 * (1 - level) / 2
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
        return np.nanpercentile(values, [tail, 100 - tail], axis=0)


def _times_drawn(lesions: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """How often each lesion is drawn in each sample, in arrays (samples, lesions) of at most a chunk."""
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, _CHUNK):
        yield rng.multinomial(lesions, np.full(lesions, 1 / lesions), size=min(_CHUNK, resamples - start))
