"""What is random about a patch's intensities: the knobs, and the numbers drawn for one patch.

Order, probabilities and ranges are those of nnU-Net v2.8's training (``get_training_transforms`` of its
``nnUNetTrainer.py``, over batchgeneratorsv2), which are also the ranges that stand here as defaults; the probabilities
are 0 by default. Modality dropout is not nnU-Net's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np

from scripts.errors import InputError

# What the probabilities of a patch are called, in the order of the draws: a new one comes last.
SWITCHES = (
    "noise_prob",
    "blur_prob",
    "brightness_prob",
    "contrast_prob",
    "low_resolution_prob",
    "inverted_gamma_prob",
    "gamma_prob",
    "modality_dropout_prob",
)
# Voxels. A wider Gaussian leaves nothing to learn from, and its kernel would not fit a small patch.
MOST_SIGMA = 5.0
# A stronger noise, factor or exponent leaves nothing of a picture; single precision does not hold the largest numbers.
MOST_FACTOR = 100.0


@dataclass(frozen=True)
class Intensity:
    """Changes of one patch's intensities, in the order in which they are made. Arrays hold a value a channel.

    Attributes:
        noise_std: of the normal noise that is added to all channels; 0 adds none.
        noise_seed: what the noise is made from, 64 bits.
        blur_sigma: of the Gaussian along each axis, in voxels, (C, 3); 0 leaves a channel as it is.
        brightness: factor on the intensities.
        contrast: factor on the distance from the channel's mean.
        resolution: voxels a side of the coarser grid that a channel passes through, as a share of the patch's.
        inverted_gamma: exponent of the gamma curve on the negated channel.
        gamma: exponent of the gamma curve.
        dropped: whether the channel is made 0 everywhere, as a missing modality is after normalisation.
    """

    noise_std: float
    noise_seed: int
    blur_sigma: np.ndarray
    brightness: np.ndarray
    contrast: np.ndarray
    resolution: np.ndarray
    inverted_gamma: np.ndarray
    gamma: np.ndarray
    dropped: np.ndarray

    @property
    def changes_nothing(self) -> bool:
        """Whether every number is the neutral one."""
        factors = (self.brightness, self.contrast, self.resolution, self.inverted_gamma, self.gamma)
        kept = all((values == 1).all() for values in factors)
        return kept and self.noise_std == 0 and not self.blur_sigma.any() and not self.dropped.any()


@dataclass(frozen=True, kw_only=True)
class IntensityRecipe:
    """How changes of intensities are drawn. Probabilities are per patch; ranges are drawn from uniformly.

    Ranges of factors and exponents hold 1, and half of the draws lie below it, as in nnU-Net: half of the patches get
    darker, whatever the range.

    Attributes:
        noise_prob, noise_range: standard deviation, in those of the brain, one for all channels. nnU-Net's argument is
            called a variance, but its code uses it as a standard deviation.
        blur_prob, blur_range: standard deviation of the Gaussian, in voxels, a draw a channel and axis.
        brightness_prob, brightness_range: a factor a channel.
        contrast_prob, contrast_range: a factor a channel; a channel's lowest and highest value are not passed.
        low_resolution_prob, low_resolution_range: sides of the coarser grid as a share of the patch's, one a channel.
        channel_prob: share of the channels that are blurred, or made coarse, in a patch that is.
        inverted_gamma_prob: probability of a gamma curve on the negated intensities.
        gamma_prob, gamma_range: probability of one on the intensities; an exponent a channel, of either curve.
        modality_dropout_prob, modality_dropout_most: as many channels as drawn uniformly from 1 to this are made 0.
    """

    noise_prob: float = 0.0
    noise_range: tuple[float, float] = (0.0, 0.1)
    blur_prob: float = 0.0
    blur_range: tuple[float, float] = (0.5, 1.0)
    brightness_prob: float = 0.0
    brightness_range: tuple[float, float] = (0.75, 1.25)
    contrast_prob: float = 0.0
    contrast_range: tuple[float, float] = (0.75, 1.25)
    low_resolution_prob: float = 0.0
    low_resolution_range: tuple[float, float] = (0.5, 1.0)
    channel_prob: float = 0.5
    inverted_gamma_prob: float = 0.0
    gamma_prob: float = 0.0
    gamma_range: tuple[float, float] = (0.7, 1.5)
    modality_dropout_prob: float = 0.0
    modality_dropout_most: int = 1

    def __post_init__(self) -> None:
        for name in (*SWITCHES, "channel_prob"):
            refuse_no_probability(name, getattr(self, name))
        for name in ("brightness_range", "contrast_range", "gamma_range"):
            value = getattr(self, name)
            if not are_two_numbers(value) or not 0 < value[0] <= 1 <= value[1] <= MOST_FACTOR:
                raise InputError(
                    f"{name} is {shown(value)}; give two positive numbers of at most {MOST_FACTOR:g}, 1 between them."
                )
        for name, least, most in (
            ("noise_range", 0, MOST_FACTOR),
            ("blur_range", 0, MOST_SIGMA),
            ("low_resolution_range", 0.01, 1),
        ):
            value = getattr(self, name)
            if not are_two_numbers(value) or not least <= value[0] <= value[1] <= most:
                raise InputError(
                    f"{name} is {shown(value)}; give two numbers from {least:g} to {most:g} in ascending order."
                )
        most_dropped = self.modality_dropout_most
        if isinstance(most_dropped, bool) or not isinstance(most_dropped, int) or most_dropped < 1:
            raise InputError(f"modality_dropout_most is {most_dropped}; give a whole number of 1 or more.")

    def draw_intensity(self, rng: np.random.Generator, channels: int) -> Intensity | None:
        """Draw the changes of one patch; None for none.

        ``rng`` is left where it was, so that these knobs do not change what is drawn after them.

        Raises:
            InputError: modality dropout could leave no channel.
        """
        if self.modality_dropout_prob and self.modality_dropout_most >= channels:
            raise InputError(
                f"modality_dropout_most is {self.modality_dropout_most}, but at least one of the {channels} channels "
                "must stay; lower it, or set modality_dropout_prob to 0."
            )
        probabilities = [getattr(self, name) for name in SWITCHES]
        if not any(probabilities):
            return None
        rng = beside(rng)
        happens = dict(zip(SWITCHES, rng.random(len(SWITCHES)) < probabilities, strict=True))
        if not any(happens.values()):
            return None

        def where(name: str, values: np.ndarray, neutral: float) -> np.ndarray:
            return values if happens[name] else np.full_like(values, neutral)

        # All of it is drawn whether used or not, so that a knob changes what it names and nothing else.
        noise_std, noise_seed = rng.uniform(*self.noise_range), int(rng.integers(2**64, dtype=np.uint64))
        blurred, coarse = rng.random((2, channels)) < self.channel_prob
        sigma = rng.uniform(*self.blur_range, (channels, 3)) * blurred[:, None]
        resolution = np.where(coarse, rng.uniform(*self.low_resolution_range, channels), 1)
        bounds = (self.brightness_range, self.contrast_range, self.gamma_range, self.gamma_range)
        brightness, contrast, inverted_gamma, gamma = about_one(rng, bounds, channels)
        dropped = np.zeros(channels, bool)
        dropped[rng.permutation(channels)[: rng.integers(1, self.modality_dropout_most + 1)]] = True
        drawn = Intensity(
            noise_std if happens["noise_prob"] else 0.0,
            noise_seed,
            where("blur_prob", sigma, 0),
            where("brightness_prob", brightness, 1),
            where("contrast_prob", contrast, 1),
            where("low_resolution_prob", resolution, 1),
            where("inverted_gamma_prob", inverted_gamma, 1),
            where("gamma_prob", gamma, 1),
            where("modality_dropout_prob", dropped, False),
        )
        return None if drawn.changes_nothing else drawn


def refuse_no_probability(name: str, value: float) -> None:
    """Raise an InputError unless the knob ``name`` lies between 0 and 1."""
    if not isinstance(value, Real) or not 0 <= value <= 1:
        raise InputError(f"{name} is {value}, but a probability lies between 0 and 1; correct it.")


def are_two_numbers(value: object) -> bool:
    """Whether a knob holds two finite numbers, as the ends of a range."""
    return (
        isinstance(value, Sequence)
        and len(value) == 2
        and all(isinstance(end, Real) and math.isfinite(end) for end in value)
    )


def shown(value: object) -> object:
    """A range as it is written in a config, to be named in a message; what is no tuple stays as it is."""
    return list(value) if isinstance(value, tuple) else value


def beside(rng: np.random.Generator) -> np.random.Generator:
    """A generator seeded by what ``rng`` gives next; ``rng`` itself stays where it is."""
    state = rng.bit_generator.state
    seed = rng.integers(2**32, size=4, dtype=np.uint32)
    rng.bit_generator.state = state
    return np.random.default_rng(seed)


def about_one(rng: np.random.Generator, bounds: Sequence[Sequence[float]], count: int) -> np.ndarray:
    """Factors of which half are uniform below 1 and half above, as batchgeneratorsv2's ``BGContrast`` draws them.

    Args:
        rng: their source.
        bounds: lowest and highest of each kind, (n, 2), with 1 between them.
        count: factors of each kind.

    Returns:
        (n, count).
    """
    ends = np.array(bounds)[:, :, None]
    side = rng.integers(2, size=(len(bounds), count))
    # BGContrast does not look below 1 where the range begins there.
    end = np.where((side == 0) & (ends[:, 0] < 1), ends[:, 0], ends[:, 1])
    return 1 + (end - 1) * rng.random((len(bounds), count))
