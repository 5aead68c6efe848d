"""Rules on hand-made volumes: what is removed, what becomes core, what stays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scripts.errors import InputError
from scripts.labels import REGIONS, nest_regions
from scripts.postprocessing import region_masks, remove_small_components
from scripts.rules import Rules, load_rules, read_rules, rules_to_score_with

TC, WT, ET = range(3)


def volume(**blocks: tuple[tuple[slice, slice, slice], float]) -> torch.Tensor:
    """Probabilities (3, 12, 12, 12): 0.1, and in each named block that of its region, which the name begins with."""
    probabilities = torch.full((3, 12, 12, 12), 0.1)
    for name, (box, value) in blocks.items():
        probabilities[(REGIONS.index(name[:2]), *box)] = value
    return probabilities


def block(low: int, high: int) -> tuple[slice, slice, slice]:
    return (slice(low, high),) * 3


# A tumour of 216 voxels with a core of 64 and enhancing tumour of 8, and an island of 8 voxels with a core of 1.
TUMOUR = volume(
    WT=(block(0, 6), 0.9), TC=(block(1, 5), 0.9), ET=(block(2, 4), 0.8),
    WT_island=(block(9, 11), 0.9), TC_island=(block(9, 10), 0.9),
)  # fmt: skip


def counts(rules: Rules, probabilities: torch.Tensor = TUMOUR, voxel_mm3: float = 1.0) -> tuple[int, ...]:
    """Voxels of TC, WT and ET; nested is what they must be."""
    masks = region_masks(probabilities, REGIONS, rules, voxel_mm3)
    assert masks.dtype == torch.bool and torch.equal(masks, nest_regions(masks))
    return tuple(masks.sum((1, 2, 3)).tolist())


def test_no_rules_are_a_threshold_of_one_half() -> None:
    values = torch.rand(3, 9, 8, 7, generator=torch.Generator().manual_seed(0))
    values[0, 0, 0, 0] = 0.5
    assert torch.equal(region_masks(values, REGIONS, Rules(), 1.0), nest_regions(values > 0.5))


def test_each_region_has_its_threshold_and_smaller_ones_carry_the_larger() -> None:
    values = volume(ET=(block(0, 2), 0.4), TC=(block(4, 6), 0.4), WT=(block(8, 10), 0.55))
    assert counts(Rules(), values) == (0, 8, 0)
    assert counts(Rules({"ET": 0.35}), values) == (8, 16, 8)
    assert counts(Rules({"WT": 0.6}), values) == (0, 0, 0)


def test_small_components_go_with_all_that_lies_in_them() -> None:
    assert counts(Rules()) == (65, 224, 8)
    assert counts(Rules(min_component_mm3={"WT": 9.0})) == (64, 216, 8)
    assert counts(Rules(min_component_mm3={"WT": 8.0})) == (65, 224, 8)


def test_small_core_becomes_edema_and_small_enhancing_tumour_core() -> None:
    assert counts(Rules(min_component_mm3={"TC": 2.0})) == (64, 224, 8)
    assert counts(Rules(min_component_mm3={"TC": 65.0})) == (0, 224, 0)
    assert counts(Rules(min_component_mm3={"ET": 9.0})) == (65, 224, 0)
    assert counts(Rules(min_enhancing_mm3=9.0)) == (65, 224, 0)
    assert counts(Rules(min_enhancing_mm3=8.0)) == (65, 224, 8)


def test_volumes_are_physical() -> None:
    rules = Rules(min_component_mm3={"WT": 20.0}, min_enhancing_mm3=20.0)
    assert counts(rules, voxel_mm3=1.0) == (64, 216, 0)
    assert counts(rules, voxel_mm3=3.0) == (65, 224, 8)


def test_sure_enhancing_tumour_stays() -> None:
    """The rule of Futrega et al. 2021, of components and in total."""
    for rules in (Rules(min_enhancing_mm3=73.0), Rules(min_component_mm3={"ET": 16.0})):
        sure = {"min_enhancing_mm3": rules.min_enhancing_mm3, "min_component_mm3": rules.min_component_mm3}
        assert counts(Rules(**sure, sure_enhancing=0.9)) == (65, 224, 0)
        assert counts(Rules(**sure, sure_enhancing=0.75)) == (65, 224, 8)


def test_total_of_enhancing_tumour_is_of_what_the_other_rules_left() -> None:
    probabilities = TUMOUR.clone()
    probabilities[(ET, *block(9, 11))] = 0.8
    assert counts(Rules(), probabilities) == (72, 224, 16)
    assert counts(Rules(min_enhancing_mm3=16.0), probabilities) == (72, 224, 16)
    assert counts(Rules(min_enhancing_mm3=16.0, min_component_mm3={"WT": 9.0}), probabilities) == (64, 216, 0)


def test_corners_connect() -> None:
    """26 neighbours: two voxels that share a corner are one component."""
    mask = np.zeros((5, 5, 5), bool)
    mask[1, 1, 1] = mask[2, 2, 2] = mask[4, 4, 4] = True
    remove_small_components(mask, 2.0, 1.0)
    assert mask.sum() == 2 and not mask[4, 4, 4]


def test_a_mask_without_a_gap_in_its_box_is_one_component() -> None:
    mask = np.ones((3, 3, 3), bool)
    remove_small_components(mask, 27.0, 1.0, np.ones((3, 3, 3)), 0.9)
    assert mask.all()
    remove_small_components(mask, 28.0, 1.0)
    assert not mask.any()
    remove_small_components(mask, 28.0, 1.0)


def test_a_model_of_one_region() -> None:
    masks = region_masks(TUMOUR[WT][None], ("WT",), Rules(min_component_mm3={"WT": 9.0}, min_enhancing_mm3=9.0), 1.0)
    assert int(masks.sum()) == 216


def write(file: Path, **content: object) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return str(file)


def test_rules_come_from_a_file_or_beside_the_model(tmp_path: Path) -> None:
    rules = {"thresholds": {"ET": 0.4}, "min_component_mm3": {"WT": 50}, "min_enhancing_mm3": 73, "sure_enhancing": 0.9}
    expected = Rules({"ET": 0.4}, {"WT": 50}, 73, 0.9)
    assert load_rules("none", [str(tmp_path)]) == Rules()
    assert load_rules(write(tmp_path / "mine.json", rules=rules), [str(tmp_path)]) == expected
    folders = [str(tmp_path / name) for name in ("a", "b")]
    for folder, digest in zip(folders, "12", strict=True):
        write(Path(folder) / "model.json", sha256=digest)
        write(Path(folder) / "postprocessing.json", rules=rules, tuned_on={"sha256": ["1", "2"]})
    assert load_rules("tuned", folders) == expected
    write(Path(folders[1]) / "postprocessing.json", rules={}, tuned_on={"sha256": ["2"]})
    with pytest.raises(InputError, match="b/postprocessing.json: has other rules than .*a/postprocessing.json"):
        load_rules("tuned", folders)
    write(Path(folders[1]) / "model.json", sha256="3")
    with pytest.raises(InputError, match="was tuned for other weights than those beside it"):
        load_rules("tuned", folders)


def test_no_case_is_scored_that_the_rules_were_tuned_on(tmp_path: Path) -> None:
    """Neither by rules beside the model nor by those of a file that its path names."""
    model = tmp_path / "model"
    write(model / "model.json", sha256="1")
    origin = {"sha256": ["1"], "cases": ["A_1"], "patients": ["A"]}
    file = write(model / "postprocessing.json", rules={"thresholds": {"ET": 0.4}}, tuned_on=origin)
    tuned, same_patient, other = ({"case": case, "patient": case[0]} for case in ("A_1", "A_2", "B_1"))
    for choice in (file, "tuned"):
        for scored, name in (([other, tuned], "A_1"), ([same_patient], "A_2")):
            for part in ("test", "all"):
                with pytest.raises(InputError, match=f"postprocessing.json: was tuned on {name}, which this evaluat"):
                    rules_to_score_with(choice, [str(model)], REGIONS, scored, part)
        assert rules_to_score_with(choice, [str(model)], REGIONS, [other], "test") == Rules({"ET": 0.4})
        assert rules_to_score_with(choice, [str(model)], REGIONS, [tuned], "validation") == Rules({"ET": 0.4})
    assert rules_to_score_with("none", [str(model)], REGIONS, [tuned], "test") == Rules()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "is no rules file"),
        ({"rules": {"threshold": 0.4}}, "is no rules file, which has an object 'rules' of min_component_mm3"),
        ({"rules": {"thresholds": {"NCR": 0.4}}}, "but a table of TC, WT, ET is wanted"),
        ({"rules": {"thresholds": {"WT": 1.4}}}, "are no probabilities between 0 and 1"),
        ({"rules": {"sure_enhancing": 0}}, "are no probabilities between 0 and 1"),
        ({"rules": {"min_component_mm3": {"WT": -1}}}, "are no volumes of 0 mm3 or more"),
        ({"rules": {"min_enhancing_mm3": "73"}}, "are no volumes of 0 mm3 or more"),
        ({"rules": {"thresholds": {"ET": 0.4}}}, "has rules for ET, but the model's regions are WT"),
        ({"rules": {"min_enhancing_mm3": 73}}, "rules for ET, but the model's regions are WT"),
        ({"rules": {"sure_enhancing": 0.9}}, "rules for ET, but the model's regions are WT"),
        ({"rules": {}, "tuned_on": []}, "its tuned_on is no object with lists of words sha256, cases, patients"),
        ({"rules": {}, "tuned_on": None}, "its tuned_on is no object"),
        ({"rules": {}, "tuned_on": {"sha256": None}}, "its tuned_on is no object"),
        ({"rules": {}, "tuned_on": {"cases": [1]}}, "its tuned_on is no object"),
    ],
)
def test_wrong_rules_are_one_sentence(tmp_path: Path, content: object, words: str) -> None:
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(content))
    with pytest.raises(InputError) as caught:
        read_rules(file, ("WT",))
    assert str(caught.value).startswith(f"{file}: ") and words in str(caught.value)


def test_rules_of_other_settings_are_refused(tmp_path: Path) -> None:
    noted = {"tta_axes": [0, 1], "window_overlap": 0.5, "inference_mode": "brain_box", "of_old": 1}
    content = {"rules": {"thresholds": {"ET": 0.4}}, "tuned_on": {"sha256": ["1"], "settings": noted}}
    file = write(tmp_path / "models" / "postprocessing.json", **content)
    write(tmp_path / "models" / "model.json", sha256="1")
    folders, same = [str(tmp_path / "models")], {"tta_axes": (1, 0), "window_overlap": 0.5, "one_pass_ratio": 1.0}
    for choice in ("tuned", file):
        assert load_rules(choice, folders, REGIONS, same) == Rules({"ET": 0.4})
        with pytest.raises(InputError) as caught:
            load_rules(choice, folders, REGIONS, same | {"window_overlap": 0.25, "tta_axes": []})
        assert str(caught.value) == (
            f"{file}: was tuned on probabilities made with tta_axes [0, 1], window_overlap 0.5, but here it is "
            "tta_axes [], window_overlap 0.25; set it as it was, tune again for "
            "these settings, or set postprocessing_rules to none."
        )
        for part in ("test", "validation"):
            with pytest.raises(InputError, match="was tuned on probabilities made with window_overlap 0.5, but here"):
                rules_to_score_with(choice, folders, REGIONS, [], part, same | {"window_overlap": 0.75})


def test_rules_without_a_note_of_settings_are_taken_under_all(tmp_path: Path) -> None:
    settings = {"window_overlap": 0.75, "tta_axes": [0]}
    for index, extra in enumerate(({}, {"tuned_on": {"cases": ["a"]}})):
        file = write(tmp_path / f"{index}.json", rules={"min_enhancing_mm3": 5}, **extra)
        assert load_rules(file, [], REGIONS, settings) == Rules(min_enhancing_mm3=5)
    spoilt = write(tmp_path / "spoilt.json", rules={}, tuned_on={"settings": [0.5]})
    with pytest.raises(InputError, match=r"spoilt.json: its tuned_on has settings \[0.5\], but a table of knobs"):
        load_rules(spoilt, [], REGIONS, settings)
