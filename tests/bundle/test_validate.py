"""Every way in which a case's files can be wrong becomes one sentence that names the file."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scripts import validate
from scripts.labels import SCHEMES
from scripts.naming import Case
from scripts.naming import make_case as named_case
from tiny import AFFINE, SHAPE, SPACING_MM, make_case, save


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """One good 4-D case."""
    image, label = make_case(0)
    return named_case("x", (save(image, tmp_path / "x.nii.gz"),), save(label, tmp_path / "x_label.nii.gz"))


def four_files(folder: Path) -> Case:
    image, label = make_case(0)
    files = tuple(save(image[..., index], folder / f"x_{index}.nii.gz") for index in range(4))
    return named_case("x", files, save(label, folder / "x_seg.nii.gz"))


def only_problem(case: Case, n_modalities: int = 4) -> str:
    (problem,) = validate.check_case(case, n_modalities).problems
    assert "\n" not in problem
    return problem


def changed_image(case: Case, change: Callable[[np.ndarray], np.ndarray], affine: np.ndarray = AFFINE) -> Case:
    save(change(nib.load(case.image[0]).get_fdata(dtype=np.float32)), case.image[0], affine)
    return case


def changed_label(case: Case, change: Callable[[np.ndarray], np.ndarray], affine: np.ndarray = AFFINE) -> Case:
    save(change(np.asarray(nib.load(case.label).dataobj)), case.label, affine)
    return case


def with_value(value: float, where: tuple[object, ...]) -> Callable[[np.ndarray], np.ndarray]:
    def change(voxels: np.ndarray) -> np.ndarray:
        voxels = voxels.copy()
        voxels[where] = value
        return voxels

    return change


def write_raw(path: Path, voxels: np.ndarray, **fields: object) -> None:
    """Write stored voxels under a header with these fields, which nibabel's own saving would correct."""
    header = nib.Nifti1Image(voxels, AFFINE).header
    header["sform_code"], header["qform_code"], header["magic"], header["vox_offset"] = 1, 0, b"n+1", 352
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(gzip.compress(header.binaryblock + bytes(4) + voxels.tobytes(order="F")))


def test_facts_of_a_good_case(case: Case) -> None:
    facts = validate.check_case(case, 4)
    label = make_case(0)[1]
    assert facts.problems == []
    assert (facts.shape, facts.spacing_mm) == (SHAPE, SPACING_MM)
    assert np.allclose(facts.affine, AFFINE)
    assert facts.label_counts == {value: int((label == value).sum()) for value in range(4)}


def test_one_file_a_modality_and_one_without_label(tmp_path: Path, case: Case) -> None:
    assert validate.check_case(four_files(tmp_path / "four"), 4).problems == []
    facts = validate.check_case(named_case("x", case.image), 4)
    assert facts.problems == [] and facts.label_counts == {}


def test_scaled_labels_are_counted_by_their_true_value(case: Case) -> None:
    label = make_case(0)[1]
    write_raw(case.label, label, scl_slope=2, scl_inter=1)
    assert validate.check_case(case, 4).label_counts == {2 * v + 1: int((label == v).sum()) for v in range(4)}


@pytest.mark.parametrize("keep", [0.5, 0.98, 0.0])
def test_a_truncated_gzip(case: Case, keep: float) -> None:
    content = case.image[0].read_bytes()
    case.image[0].write_bytes(content[: int(len(content) * keep)])
    problem = only_problem(case)
    assert problem.startswith(f"{case.image[0]}: cannot be read (")


def test_a_damaged_gzip_a_short_volume_and_no_nifti_at_all(case: Case) -> None:
    content = case.image[0].read_bytes()
    middle = len(content) // 2
    for damaged in (
        content[:middle] + bytes(200) + content[middle + 200 :],
        gzip.compress(gzip.decompress(content)[:5000]),
        b"not a NIfTI file",
    ):
        case.image[0].write_bytes(damaged)
        assert "cannot be read" in only_problem(case)


def test_a_missing_file(case: Case) -> None:
    case.label.unlink()
    assert only_problem(case).startswith(f"{case.label}: cannot be read")


def test_a_3d_image(case: Case) -> None:
    assert "is a 3-D image (24x28x20), but 4 modalities are wanted" in only_problem(
        changed_image(case, lambda voxels: voxels[..., 0])
    )


def test_three_modalities_in_one_file(case: Case) -> None:
    problem = only_problem(changed_image(case, lambda voxels: voxels[..., :3]))
    assert "has 3 modalities (24x28x20x3), but 4 are wanted" in problem


def test_a_single_modality_may_be_3d(case: Case) -> None:
    changed_image(case, lambda voxels: voxels[..., 0])
    assert validate.check_case(case, 1).problems == []


def test_a_4d_file_among_four(tmp_path: Path) -> None:
    case = four_files(tmp_path)
    save(make_case(0)[0], case.image[2])
    assert "x_2.nii.gz: has shape 24x28x20x4, but one 3-D volume is wanted" in only_problem(case)


def test_modalities_of_different_shape(tmp_path: Path) -> None:
    case = four_files(tmp_path)
    save(make_case(0)[0][:-1, ..., 3], case.image[3])
    assert "x_3.nii.gz: has shape 23x28x20, but the case's first image has 24x28x20" in only_problem(case)


def test_label_of_different_shape(case: Case) -> None:
    problem = only_problem(changed_label(case, lambda voxels: voxels[:, :, 1:]))
    assert str(case.label) in problem and "24x28x19" in problem


def test_label_of_different_affine(case: Case) -> None:
    flipped = np.diag([-1.0, 1.0, 1.0, 1.0]) @ AFFINE
    problem = only_problem(changed_label(case, lambda voxels: voxels, flipped))
    assert "another affine" in problem and "62 mm" in problem


@pytest.mark.parametrize(("shift_mm", "problems"), [(0.0005, 0), (0.002, 1)])
def test_affines_may_differ_by_rounding(case: Case, shift_mm: float, problems: int) -> None:
    shifted = AFFINE.copy()
    shifted[0, 3] += shift_mm
    assert len(validate.check_case(changed_label(case, lambda voxels: voxels, shifted), 4).problems) == problems


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_single_voxel_that_is_no_number(case: Case, value: float) -> None:
    problem = only_problem(changed_image(case, with_value(value, (3, 4, 5, 2))))
    assert "volume 3 of 4 holds NaN or infinite voxels" in problem


@pytest.mark.parametrize(("value", "wanted"), [(7.0, "constant (7 everywhere)"), (0.0, "empty (0 everywhere)")])
def test_a_constant_modality(case: Case, value: float, wanted: str) -> None:
    assert f"volume 2 of 4 is {wanted}" in only_problem(changed_image(case, with_value(value, (..., 1))))


def test_an_empty_image_lists_all_its_modalities(case: Case) -> None:
    assert len(validate.check_case(changed_image(case, np.zeros_like), 4).problems) == 4


def test_an_empty_label(case: Case) -> None:
    assert "the label is empty" in only_problem(changed_label(case, np.zeros_like))


def test_a_label_of_fractions(case: Case) -> None:
    problem = only_problem(changed_label(case, lambda voxels: voxels.astype(np.float32) / 2))
    assert "whole numbers" in problem and "0.5, 1.5" in problem


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_label_of_no_numbers(case: Case, value: float) -> None:
    change = with_value(value, (0, 0, 0))
    assert "whole numbers" in only_problem(changed_label(case, lambda voxels: change(voxels.astype(np.float32))))


def test_an_affine_that_collapses_space(case: Case) -> None:
    write_raw(case.image[0], make_case(0)[0], srow_z=0)
    assert "cannot be inverted" in validate.check_case(case, 4).problems[0]


def test_values_outside_the_scheme(case: Case) -> None:
    facts = validate.check_case(changed_label(case, with_value(7, (0, 0, slice(0, 3)))), 4)
    assert validate.scheme_problems(facts, SCHEMES["msd"]) == [
        "label value 7 (3 voxels) is not in scheme 'msd' (0, 1, 2, 3)"
    ]
    assert validate.scheme_problems(validate.CaseFacts(label_counts={0: 9, 3: 1}), SCHEMES["msd"]) == []


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BRATS_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def spoil(case: Case) -> None:
    """Damage the content but keep size and time, so that only a remembered result can pass."""
    status = case.image[0].stat()
    case.image[0].write_bytes(bytes(status.st_size))
    os.utime(case.image[0], ns=(status.st_atime_ns, status.st_mtime_ns))


def check(case: Case) -> validate.CaseFacts:
    return validate.check_cases([case], 4, progress=False)[0]


def test_what_passed_is_remembered(case: Case, own_cache: Path) -> None:
    first = check(case)
    spoil(case)
    assert check(case) == first


def test_a_changed_file_is_read_again(case: Case, own_cache: Path) -> None:
    check(case)
    spoil(case)
    os.utime(case.image[0], ns=(1, 1))
    assert "cannot be read" in check(case).problems[0]


def test_another_number_of_modalities_is_checked_anew(case: Case, own_cache: Path) -> None:
    check(case)
    assert validate.check_cases([case], 3, progress=False)[0].problems


def test_what_failed_is_not_remembered(case: Case, own_cache: Path) -> None:
    content = case.image[0].read_bytes()
    status = case.image[0].stat()
    spoil(case)
    assert check(case).problems
    case.image[0].write_bytes(content)
    os.utime(case.image[0], ns=(status.st_atime_ns, status.st_mtime_ns))
    assert check(case).problems == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 1}', '{"version": 1, "cases": 3}', '{"version": 0}'])
def test_a_damaged_store_is_an_empty_one(case: Case, own_cache: Path, content: str) -> None:
    check(case)
    (store,) = own_cache.iterdir()
    store.write_text(content, encoding="utf-8")
    assert check(case).problems == []


def test_a_cache_folder_that_cannot_be_written(case: Case, own_cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    own_cache.write_text("a file where the folder should be", encoding="utf-8")
    assert check(case).problems == []
    assert "not remembered" in caplog.text


def test_many_cases_come_back_in_order(tmp_path: Path, own_cache: Path) -> None:
    cases = []
    for index in range(6):
        image, label = make_case(index)
        label[: index + 1, 0, 0] = 1
        files = (save(image, tmp_path / f"{index}.nii.gz"),)
        cases.append(named_case(str(index), files, save(label, tmp_path / f"{index}_label.nii.gz")))
    cases[2].image[0].write_bytes(b"")
    together = validate.check_cases(cases, 4, workers=2, progress=False)
    assert together == [validate.check_case(case, 4) for case in cases]
    assert [bool(facts.problems) for facts in together] == [False, False, True, False, False, False]
