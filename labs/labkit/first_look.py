"""What lab 00 measures and draws of one case, and the checks of its exercises."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from nibabel.nifti1 import Nifti1Image
from nilearn import image, plotting
from scripts.figures import tissue_colours
from scripts.labels import Scheme

from .checks import answered, require, right

MM3_PER_ML = 1000.0


def modalities_figure(scans: Mapping[str, Nifti1Image], label: Nifti1Image, scheme: Scheme, outlined: bool) -> Figure:
    """The axial slice through the tumour in every modality, drawn by nilearn in the scanner's coordinates.

    Radiological display, as in the viewer: the patient's right is on the left.

    Args:
        scans: modality name to image (H, W, D).
        label: label map (H, W, D).
        scheme: which id is which tissue.
        outlined: draw the tissues' outlines.
    """
    ids = np.asarray(label.dataobj)
    height_mm = nib.affines.apply_affine(label.affine, np.argwhere(ids > 0).mean(axis=0))[2]
    figure, axes = plt.subplots(1, len(scans), figsize=(3.3 * len(scans), 3.9))
    colours = tissue_colours(scheme)
    present = [value for value in scheme.labels if (ids == value).any()]
    for axis, (name, scan) in zip(axes, scans.items(), strict=True):
        top = float(np.percentile(scan.get_fdata(dtype=np.float32), 99.7))
        view = plotting.plot_anat(
            image.crop_img(scan), display_mode="z", cut_coords=[height_mm], axes=axis, title=name, draw_cross=False,
            vmin=0, vmax=top, colorbar=False, radiological=True,
        )  # fmt: skip
        for value in present if outlined else ():
            tissue = nib.Nifti1Image((ids == value).astype(np.uint8), label.affine)
            view.add_contours(tissue, levels=[0.5], colors=[colours[value]], linewidths=1.4)
    if outlined:
        # Numbers only: which is which tissue is what the lab asks.
        patches = [Patch(color=colours[value], label=f"label {value}") for value in present]
        figure.legend(handles=patches, loc="lower center", ncol=len(patches), frameon=False)
    return figure


def tissue_intensities(scans: Mapping[str, Nifti1Image], label: Nifti1Image) -> dict[int, dict[str, float]]:
    """How bright each labelled tissue is: its mean, divided by the mean of the brain outside the tumour.

    Args:
        scans: modality name to image (H, W, D).
        label: label map (H, W, D).

    Returns:
        Label id to modality name to ratio.
    """
    ids = np.asarray(label.dataobj)
    found: dict[int, dict[str, float]] = {int(value): {} for value in np.unique(ids) if value}
    for name, scan in scans.items():
        voxels = scan.get_fdata(dtype=np.float32)
        healthy = voxels[(ids == 0) & (voxels > 0)].mean()
        for value, ratios in found.items():
            ratios[name] = float(voxels[ids == value].mean() / healthy)
    return found


def takes_up_contrast(intensities: Mapping[int, Mapping[str, float]]) -> int:
    """The label whose tissue grows brightest between T1w and T1gd, the same scan after contrast agent."""
    return max(intensities, key=lambda value: intensities[value]["T1gd"] / intensities[value]["T1w"])


def voxel_ml(image: Nifti1Image) -> float:
    """Volume of one voxel in ml, from the affine."""
    return abs(float(np.linalg.det(image.affine[:3, :3]))) / MM3_PER_ML


def check_regions(wt: Collection[int], tc: Collection[int], et: Collection[int], scheme: Scheme) -> None:
    """Exercise: the label ids of each region.

    Args:
        wt: ids of the whole tumour.
        tc: ids of the tumour core.
        et: ids of the enhancing tumour.
        scheme: the data's.

    Raises:
        NotYet: one is missing or wrong, with a hint.
    """
    given = {"WT": wt, "TC": tc, "ET": et}
    for name, ids in given.items():
        require(isinstance(answered(ids, name), Collection), f"{name} is a set of label ids, such as {{1, 2}}.")
    require(set(et) <= set(tc) <= set(wt), "the regions are nested: ET lies inside TC, and TC inside WT.")
    require(set(wt) == set(scheme.regions["WT"]), "the whole tumour is everything that is abnormal, edema too.")
    require(len(set(et)) == 1, "ET is one tissue: the one that grew brighter from T1w to T1gd.")
    require(set(et) == set(scheme.regions["ET"]), "look at the table again: which row changes most from T1w to T1gd?")
    require(set(tc) == set(scheme.regions["TC"]), "the core is what a surgeon takes out; edema stays.")
    right("WT holds every tumour label, TC leaves out the edema, ET is the part that takes up contrast agent.")


def check_volume(ml: float, label: Nifti1Image, ids: Collection[int]) -> None:
    """Exercise: a region's volume.

    Args:
        ml: the answer.
        label: label map (H, W, D).
        ids: of the region.

    Raises:
        NotYet: it is missing or wrong, with a hint.
    """
    voxels = int(np.isin(np.asarray(label.dataobj), list(ids)).sum())
    wanted = voxels * voxel_ml(label)
    given = float(answered(ml, "the volume"))
    require(not math.isclose(given, voxels), "that counts voxels; how large is one?")
    require(not math.isclose(given, wanted * MM3_PER_ML, rel_tol=1e-3), "that is in cubic millimetres; 1 ml is 1000.")
    require(math.isclose(given, wanted, rel_tol=0.01), "count the region's voxels, times the volume of one.")
    right(f"{voxels:,} voxels of {voxel_ml(label):.3g} ml are {wanted:.3g} ml.")


def check_error_factor(factor: float, label: Nifti1Image) -> None:
    """Exercise: by how much a program errs that takes every voxel for a cubic millimetre.

    Args:
        factor: true volume divided by the wrong one.
        label: label map (H, W, D).

    Raises:
        NotYet: it is missing or wrong, with a hint.
    """
    wanted = voxel_ml(label) * MM3_PER_ML
    given = float(answered(factor, "the factor"))
    edge = wanted ** (1 / 3)
    wrong_power = any(math.isclose(given, edge**power, rel_tol=0.01) for power in (1, 2)) and not math.isclose(edge, 1)
    require(not wrong_power, "a voxel has three edges, and each counts.")
    require(math.isclose(given, wanted, rel_tol=0.01), "what is the volume of one voxel in cubic millimetres?")
    right(f"a voxel here holds {wanted:.3g} cubic millimetres, so the program errs by a factor of {wanted:.3g}.")
