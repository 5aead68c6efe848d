"""The synthetic set: HAM10000's layout, repeatable, and not to be told by colour."""

from __future__ import annotations

import filecmp
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skin_lesions import synthetic
from skin_lesions.classes import CLASSES
from skin_lesions.errors import InputError
from skin_lesions.ham10000 import read_images
from skin_lesions.looks import LOOKS
from skin_lesions.splits import split
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

FEW = dict.fromkeys(CLASSES, 3)


def test_every_class_has_its_look_and_its_lesions() -> None:
    assert tuple(LOOKS) == tuple(synthetic.LESIONS) == CLASSES


def test_the_set_is_made_once_in_the_layout(tmp_path: Path) -> None:
    folder = synthetic.resolve(synthetic.WORD)
    images = read_images(folder)
    lesions = {image.lesion for image in images}
    assert len(lesions) == sum(synthetic.LESIONS.values()) < len(images)
    assert {Path(image.file).parent.name for image in images} == set(synthetic.FOLDERS)
    counts = np.bincount([image.label for image in images])
    assert counts.argmax() == CLASSES.index("nv") and counts.max() > 5 * counts.min()
    made = (folder / images[0].file).stat().st_mtime_ns
    assert synthetic.resolve(synthetic.WORD) == folder
    assert (folder / images[0].file).stat().st_mtime_ns == made


def test_the_same_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    folders = [synthetic.generate(tmp_path / name, FEW, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    names = [str(path.relative_to(folders[0])) for path in folders[0].rglob("*") if path.is_file()]
    assert len(names) > 21
    assert filecmp.cmpfiles(*folders[:2], names, shallow=False) == (names, [], [])
    assert not filecmp.cmp(folders[0] / names[-1], folders[2] / names[-1], shallow=False)


def test_images_of_one_lesion_differ() -> None:
    first, second = (synthetic.draw("mel", [0, 4, 1], view) for view in (0, 1))
    assert first.shape == (synthetic.HEIGHT, synthetic.WIDTH, 3)
    assert np.abs(first.astype(int) - second).mean() > 5


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists already"):
        synthetic.generate(tmp_path, FEW)
    assert not any(tmp_path.iterdir())


def features(images: list, of) -> np.ndarray:
    folder = synthetic.resolve(synthetic.WORD)
    return np.stack([of(np.asarray(Image.open(folder / image.file), np.float64)) for image in images])


def auc(of) -> float:
    """Macro AUC of the test part by a forest on features of the other two."""
    parts = split(read_images(synthetic.resolve(synthetic.WORD)), (0.6, 0.1, 0.3), 0)
    known = [*parts["training"], *parts["validation"]]
    forest = RandomForestClassifier(300, class_weight="balanced", min_samples_leaf=3, random_state=0)
    forest.fit(features(known, of), [image.label for image in known])
    found = forest.predict_proba(features(parts["test"], of))
    return roc_auc_score([image.label for image in parts["test"]], found, multi_class="ovr", average="macro")


def test_mean_colours_tell_nothing_but_shapes_tell_much() -> None:
    by_colour = auc(lambda pixels: pixels.mean((0, 1)))
    assert 0.35 < by_colour < 0.65, "chance is 0.5"
    # Darkness on rings around the middle, whatever the colour: crude, but it sees what the classes are made of.
    rows, columns = np.mgrid[: synthetic.HEIGHT, : synthetic.WIDTH]
    ring = (np.hypot(rows - synthetic.HEIGHT / 2, columns - synthetic.WIDTH / 2) / 4).astype(int).ravel()

    def profile(pixels: np.ndarray) -> np.ndarray:
        grey = pixels.mean(2).ravel()
        return (np.bincount(ring, grey) / np.bincount(ring) - grey.mean()) / grey.std()

    assert auc(profile) > 0.75
