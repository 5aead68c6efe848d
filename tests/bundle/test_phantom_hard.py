"""The hard phantom: the same by seed, as varied as it promises, nested, and readable where a reader must be able to."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scripts import phantom
from scripts.errors import InputError
from scripts.phantom.anatomy import Anatomy, Grid
from scripts.phantom.hard import make_hard_case
from scripts.phantom.hard_contrast import FLAIR, LEAST_EDEMA, T1GD, draw_means
from scripts.phantom.hard_gliomas import Pattern, draw_gliomas, plan_gliomas
from scripts.phantom.hard_mimics import skull_remains
from scripts.phantom.hard_scanner import Sequence, acquire, plan_sequence

GRID = Grid((54, 64, 54), 3.0)
CASES = 10
# A sequence that changes nothing but the numbers: 1000 of them per unit.
PERFECT = Sequence(0, 0.0, 0.0, np.zeros(3), 0.0, 60.0, 0.0, 1.0, 0.0, 0, 0, 0.0, 1000.0)


@pytest.fixture(scope="module")
def volumes() -> list[tuple[np.ndarray, np.ndarray]]:
    """Image (H, W, D, 4) and label (H, W, D) of ten cases at 3 mm."""
    return [make_hard_case(index, 0, GRID) for index in range(CASES)]


def healthy_anatomy() -> Anatomy:
    """A ball of white matter, on the grid of these tests."""
    place = np.stack(np.broadcast_arrays(*GRID.world())).astype(np.float32)
    depth = 60 - np.sqrt(np.square(place - np.array([0, -17, 5]).reshape(3, 1, 1, 1)).sum(axis=0))
    brain = depth > 0
    nothing = np.zeros(GRID.shape, np.float32)
    return Anatomy(nothing, brain.astype(np.float32), nothing, brain, np.where(brain, depth, 0), place)


def test_a_case_depends_on_seed_and_index_alone(volumes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    image, label = make_hard_case(3, 0, GRID)
    assert np.array_equal(image, volumes[3][0]) and np.array_equal(label, volumes[3][1])
    assert not np.array_equal(make_hard_case(3, 1, GRID)[1], label)


def test_image_and_label_share_one_mask(volumes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for image, label in volumes:
        assert image.dtype == np.int16 and label.dtype == np.uint8
        kept = image[..., 0] != 0
        assert np.array_equal((image != 0).all(axis=-1), kept) and np.array_equal((image != 0).any(axis=-1), kept)
        assert kept[label > 0].all()
        assert set(np.unique(label)) <= {0, 1, 2, 3} and (label > 0).any()


def test_tumours_vary_more_than_the_standard_ones(volumes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    whole = np.array([(label > 0).sum() * 0.027 for _, label in volumes])
    core = np.array([(label > 1).sum() * 0.027 for _, label in volumes])
    # The standard set stays within 20 to 120 ml and cores of 15 to 60 %.
    assert whole.max() / whole.min() > 6
    assert (core / whole).min() < 0.3 and (core / whole).max() > 0.6
    assert 0 < sum((label == 3).any() for _, label in volumes) < CASES


def test_patterns_of_uptake() -> None:
    anatomy = healthy_anatomy()
    share: dict[Pattern, list[float]] = {pattern: [] for pattern in Pattern}
    for seed in range(24):
        plan = plan_gliomas(np.random.default_rng(seed))[:1]
        tumours = draw_gliomas(np.random.default_rng(seed), plan, anatomy, GRID)
        core = (tumours.label > 1).sum()
        share[plan[0].pattern].append(float((tumours.label == 3).sum() / max(core, 1)))
        total = tumours.edema + tumours.solid + tumours.necrosis + tumours.enhancing
        assert total.min() >= -1e-5 and total.max() <= 1 + 1e-5
    assert max(share[Pattern.NONE]) == 0
    assert np.mean(share[Pattern.SOLID]) > np.mean(share[Pattern.PATCHY]) > 0


def test_contrasts_keep_what_a_reader_rests_on() -> None:
    drawn = [draw_means(np.random.default_rng(seed)) for seed in range(200)]
    for means in drawn:
        brain = max(means["grey"][FLAIR], means["white"][FLAIR])
        assert means["edema"][FLAIR] >= brain + LEAST_EDEMA - 1e-9
        assert means["enhancing"][T1GD] > max(means["edema"][T1GD], means["solid"][T1GD], means["necrosis"][T1GD])
        assert min(values.min() for values in means.values()) > 0
    # And nothing else: grey matter is not always darker than white in T1w, nor a core always bright in FLAIR.
    assert {bool(means["necrosis"][FLAIR] > means["white"][FLAIR]) for means in drawn} == {True, False}


def test_a_perfect_scanner_changes_nothing() -> None:
    signal = np.random.default_rng(0).uniform(0.1, 2, GRID.shape).astype(np.float32)
    seen = acquire(np.random.default_rng(0), PERFECT, signal, np.ones(GRID.shape, bool), GRID)
    assert np.abs(seen - 1000 * signal).max() <= 0.51


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_thick_slices_blur_their_own_axis(axis: int) -> None:
    fields = {**PERFECT.__dict__, "slice_axis": axis, "slice_mm": 7.0}
    signal = np.random.default_rng(0).uniform(0.5, 1.5, GRID.shape).astype(np.float32)
    seen = acquire(np.random.default_rng(0), Sequence(**fields), signal, np.ones(GRID.shape, bool), GRID)
    roughness = [np.abs(np.diff(seen.astype(float), axis=each)).mean() for each in range(3)]
    assert min(roughness[each] for each in range(3) if each != axis) > 2 * roughness[axis]
    # Weights of slices and of the way back sum to 1: what is even stays even.
    even = acquire(np.random.default_rng(0), Sequence(**fields), np.ones(GRID.shape, np.float32), signal > 0, GRID)
    assert np.abs(even - 1000).max() <= 1


@pytest.mark.parametrize(("cut", "empty"), [(0.25, slice(0, 16)), (-0.25, slice(48, 64))])
def test_a_cut_field_of_view_is_nearly_empty_on_one_side(cut: float, empty: slice) -> None:
    signal = np.ones(GRID.shape, np.float32)
    sequence = Sequence(**{**PERFECT.__dict__, "cut_axis": 1, "cut": cut})
    seen = acquire(np.random.default_rng(0), sequence, signal, signal > 0, GRID)
    assert seen[:, empty].max() < 100
    assert (np.delete(seen, np.r_[empty], axis=1) > 900).all()


def test_sequences_are_mostly_good() -> None:
    planned = [plan_sequence(np.random.default_rng(seed)) for seed in range(300)]
    assert 0.5 < np.mean([sequence.slice_mm > 0 for sequence in planned]) < 0.7
    assert np.mean([sequence.cut != 0 for sequence in planned]) < 0.15
    assert np.mean([sequence.ghost > 0 for sequence in planned]) < 0.25


def test_skull_remains_lie_outside_and_margins_inside_the_brain() -> None:
    anatomy = healthy_anatomy()
    grown = []
    for seed in range(8):
        kept, margin, fat = skull_remains(np.random.default_rng(seed), anatomy, GRID)
        assert not (anatomy.brain & ~kept).any() and not margin[~anatomy.brain].any() and not fat[anatomy.brain].any()
        assert np.array_equal(fat > 0, kept & ~anatomy.brain)
        grown.append(bool((kept & ~anatomy.brain).any()))
    assert set(grown) == {True, False}


def test_a_mixed_set_has_standard_cases_among_hard_ones() -> None:
    for index, hard in ((0, False), (1, True)):
        label = phantom.make_case(index, 0, GRID, phantom.MIXED)[1]
        assert np.array_equal(label, make_hard_case(index, 0, GRID, phantom.PARTS[phantom.MIXED])[1]) == hard


def test_no_patient_is_in_sets_of_two_kinds() -> None:
    """Or a network would be scored on patients that it was trained on."""
    for index in (0, 1):
        labels = [phantom.make_case(index, 0, GRID, kind)[1] for kind in phantom.KINDS]
        assert not any(np.array_equal(a, b) for a, b in itertools.combinations(labels, 2))
    taken = [part for parts in phantom.PARTS.values() for part in parts]
    assert len(set(taken)) == len(taken) and set(phantom.PARTS) == set(phantom.KINDS)


def test_words_and_kinds(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRATS_CACHE_DIR", str(tmp_path))
    folders = {phantom.default_dir(kind) for kind in phantom.KINDS}
    assert len(folders) == len(phantom.KINDS)
    # A small set in the word's place, so that the test is quick.
    made = phantom.generate(
        phantom.default_dir(phantom.HARD), 1, 0, (40, 48, 40), 4.0, progress=False, kind=phantom.HARD
    )
    assert phantom.resolve("phantom-hard") == made
    with pytest.raises(InputError, match="choose one of standard, hard, mixed"):
        phantom.generate(made.with_name("other"), 1, 0, kind="easy")
