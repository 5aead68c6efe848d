"""Label ids mean what each data set says they mean, and nothing is guessed."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from patients import patients
from scripts.errors import InputError
from scripts.labels import (
    REGIONS,
    SCHEMES,
    Scheme,
    detect_scheme,
    get_scheme,
    labels_to_regions,
    refuse_foreign_values,
    regions_to_labels,
)
from scripts.layouts import find_dataset

MSD = {0: "background", 1: "edema", 2: "non-enhancing tumor", 3: "enhancing tumour"}
# id of edema, non-enhancing core and enhancing part, from the releases' own descriptions.
TISSUES = {"msd": (1, 2, 3), "brats2018": (2, 1, 4), "brats2023": (2, 1, 3), "brats2024": (2, 1, 3)}
WHOLE = [scheme for scheme in SCHEMES.values() if scheme.name != "binary"]


@pytest.mark.parametrize("scheme", WHOLE, ids=lambda scheme: scheme.name)
def test_regions_of_each_tissue(scheme: Scheme) -> None:
    edema, core, enhancing = TISSUES[scheme.name]
    label = torch.tensor([0, edema, core, enhancing], dtype=torch.uint8).reshape(1, 4, 1, 1)
    regions = labels_to_regions(label, scheme)
    assert REGIONS == ("TC", "WT", "ET") and regions.dtype == torch.float32
    assert regions.reshape(3, 4).tolist() == [[0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 1]]


def test_the_resection_cavity_is_in_no_region() -> None:
    assert labels_to_regions(torch.full((1, 1, 1, 1), 4), SCHEMES["brats2024"]).sum() == 0


@pytest.mark.parametrize("scheme", WHOLE, ids=lambda scheme: scheme.name)
def test_there_and_back(scheme: Scheme) -> None:
    ids = torch.tensor([0, *TISSUES[scheme.name]], dtype=torch.uint8)
    label = ids[torch.randint(0, 4, (1, 5, 6, 7), generator=torch.Generator().manual_seed(0))]
    assert torch.equal(regions_to_labels(labels_to_regions(label, scheme), scheme), label)


def test_a_smaller_region_is_part_of_the_larger() -> None:
    masks = torch.zeros(3, 1, 1, 2)
    masks[2, ..., 0] = 1  # ET alone
    masks[0, ..., 1] = 1  # TC alone
    label = regions_to_labels(masks, SCHEMES["msd"])
    assert label.flatten().tolist() == [3, 2] and label.dtype == torch.uint8
    assert labels_to_regions(label, SCHEMES["msd"])[1].flatten().tolist() == [1, 1]


def test_binary_from_any_scheme() -> None:
    label = torch.tensor([0, 1, 2, 4]).reshape(1, 4, 1, 1)
    assert labels_to_regions(label, SCHEMES["brats2018"], ["WT"]).flatten().tolist() == [0, 1, 1, 1]
    with pytest.raises(InputError, match="region TC, ET does not exist in label_scheme 'binary'"):
        labels_to_regions(label.clamp(max=1), SCHEMES["binary"])


def test_batches_and_affines_pass_through() -> None:
    affine = torch.diag(torch.tensor([-1.0, -1.0, 2.0, 1.0], dtype=torch.float64))
    label = MetaTensor(torch.ones(2, 1, 3, 4, 5, dtype=torch.uint8), affine=affine)
    regions = labels_to_regions(label, SCHEMES["msd"])
    assert regions.shape == (2, 3, 3, 4, 5)
    assert torch.equal(regions.affine, affine)


def test_a_foreign_value_names_case_value_and_scheme() -> None:
    with pytest.raises(InputError, match=r"BRATS_007: label value 4 is not in scheme 'msd' \(0, 1, 2, 3\)"):
        labels_to_regions(torch.full((1, 1, 1, 1), 4), SCHEMES["msd"], case="BRATS_007")


@pytest.mark.parametrize(("scheme", "foreign"), [("msd", 4), ("msd", 255), ("brats2018", 3), ("binary", 2)])
def test_a_foreign_value_among_bytes_is_found(scheme: str, foreign: int) -> None:
    """Above the known ids or between them: training batches are uint8, which has a faster check of its own."""
    label = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    for known in SCHEMES[scheme].labels:
        label[0, 0, 0, known % 4] = known
    refuse_foreign_values(label, SCHEMES[scheme])
    label[0, 3, 3, 3] = foreign
    with pytest.raises(InputError, match=f"label value {foreign} is not in scheme '{scheme}'"):
        refuse_foreign_values(label, SCHEMES[scheme])


def test_an_unknown_scheme_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="'brats' is unknown; choose one of msd, brats2018"):
        get_scheme("brats")


@pytest.mark.parametrize(
    ("values", "declared", "naming", "wanted"),
    [
        ({0, 1, 2, 3}, MSD, None, "msd"),
        ({0, 1, 2}, MSD, None, "msd"),
        ({0, 1, 2, 3}, {1: "necrotic core", 2: "SNFH", 3: "enhancing tissue"}, None, "brats2023"),
        ({1, 2, 4}, {1: "NCR", 2: "peritumoral edema", 4: "GD-enhancing tumor"}, None, "brats2018"),
        ({1, 2, 3}, {1: "NETC", 2: "SNFH", 3: "ET", 4: "RC"}, None, "brats2024"),
        ({1}, {0: "background", 1: "lesion"}, None, "binary"),
        ({0, 1}, None, None, "binary"),
        ({0, 1, 2, 4}, None, None, "brats2018"),
        ({0, 1, 2, 3, 4}, None, None, "brats2024"),
        ({0, 1, 2}, None, "brats2018", "brats2018"),
        ({0, 1, 2, 4}, None, "brats2018", "brats2018"),
        ({0, 1, 2}, None, "brats2023", "brats2023"),
        ({0, 1, 2, 3}, None, "brats2023", "brats2023"),
        ({0, 1, 2, 3, 4}, None, "brats2023", "brats2024"),
        ({0, 1}, None, "brats2018", "binary"),
    ],
)
def test_detection(values: set[int], declared: dict[int, str] | None, naming: str | None, wanted: str) -> None:
    assert detect_scheme(values, declared, naming) == wanted


@pytest.mark.parametrize(
    ("values", "declared", "naming", "message"),
    [
        ({1, 2, 3}, None, None, r"fit more than one scheme \(msd, brats2023, brats2024\)"),
        ({1, 2}, None, None, "more than one scheme"),
        ({1, 2, 9}, None, None, "no scheme"),
        ({1, 2, 4}, MSD, None, "scheme 'msd', but the label files hold 4"),
        ({1, 2, 3}, None, "brats2018", "BraTS up to 2022 .* hold 3"),
        ({1, 2, 4}, None, "brats2023", r"more than one scheme \(brats2018, brats2024\)"),
        ({1, 2, 3, 4}, None, "brats-ped", "BraTS-PED"),
        ({1, 2}, {1: "liver", 2: "cancer"}, None, "no known scheme"),
    ],
)
def test_what_cannot_be_told_is_refused(
    values: set[int], declared: dict[int, str] | None, naming: str | None, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        detect_scheme(values, declared, naming)
    assert "--label_scheme" in str(caught.value)


@pytest.mark.parametrize(("folder", "scheme"), [("Task01_BrainTumour_2mm", "msd"), ("BraTS2021", "brats2018")])
def test_enhancing_tissue_is_bright_after_contrast(folder: str, scheme: str) -> None:
    """The table against real patients: contrast agent brightens T1gd in the enhancing part and not in the rest."""
    _, core, enhancing = TISSUES[scheme]
    compared = 0
    for case in find_dataset(patients(folder)).cases:
        label = np.asarray(nib.load(case.label).dataobj)
        if min((label == core).sum(), (label == enhancing).sum()) < 50:
            continue
        # FLAIR, T1w, T1gd, T2w: the third volume of a 4-D file, or the third file.
        image = nib.load(case.image[2]) if len(case.image) == 4 else nib.load(case.image[0]).slicer[..., 2:3]
        t1gd = np.asarray(image.dataobj).reshape(label.shape)
        assert np.median(t1gd[label == enhancing]) > np.median(t1gd[label == core]), case.name
        compared += 1
    assert compared > 0
