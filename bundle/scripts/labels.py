"""Label schemes and tumour regions: the one table that training, evaluation, inference and the labs agree on.

The integer ids of a BraTS label map differ between releases, and a wrong guess trains a network on the wrong tissue
without any error. Sources: dataset.json of MSD Task01 (release 2.0) for ``msd``; Baid et al. 2021 (arXiv 2107.02314)
for ``brats2018``, which is used from BraTS 2017 to 2022; the BraTS 2023 and 2024 challenge descriptions for the others.

Regions overlap by definition: ET lies inside TC, TC inside WT. Channels are always in the order TC, WT, ET.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from scripts.errors import InputError

REGIONS = ("TC", "WT", "ET")
REGION_NAMES = {"TC": "tumour core", "WT": "whole tumour", "ET": "enhancing tumour"}


@dataclass(frozen=True)
class Scheme:
    """One data set's label ids.

    Attributes:
        name: the scheme's name, a value of the ``label_scheme`` knob.
        labels: id to tissue name; 0 is background and not listed.
        regions: region name to the ids that make it up.
        fill: region name to the id written for voxels that are in this region and in no smaller one.
    """

    name: str
    labels: dict[int, str]
    regions: dict[str, tuple[int, ...]]
    fill: dict[str, int]


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme(
            "msd",
            {1: "edema", 2: "non-enhancing and necrotic core", 3: "enhancing tumour"},
            {"TC": (2, 3), "WT": (1, 2, 3), "ET": (3,)},
            {"WT": 1, "TC": 2, "ET": 3},
        ),
        Scheme(
            "brats2018",
            {1: "necrotic and non-enhancing core", 2: "edema", 4: "enhancing tumour"},
            {"TC": (1, 4), "WT": (1, 2, 4), "ET": (4,)},
            {"WT": 2, "TC": 1, "ET": 4},
        ),
        Scheme(
            "brats2023",
            {1: "necrotic core", 2: "edema (SNFH)", 3: "enhancing tumour"},
            {"TC": (1, 3), "WT": (1, 2, 3), "ET": (3,)},
            {"WT": 2, "TC": 1, "ET": 3},
        ),
        Scheme(
            "brats2024",
            {1: "non-enhancing core (NETC)", 2: "SNFH", 3: "enhancing tumour", 4: "resection cavity"},
            # The resection cavity belongs to no region (official BraTS 2024 configuration).
            {"TC": (1, 3), "WT": (1, 2, 3), "ET": (3,)},
            {"WT": 2, "TC": 1, "ET": 3},
        ),
        Scheme("binary", {1: "whole tumour or lesion"}, {"WT": (1,)}, {"WT": 1}),
    )
}


def get_scheme(name: str) -> Scheme:
    """Look a scheme up by name.

    Raises:
        InputError: there is no scheme of that name.
    """
    if name not in SCHEMES:
        raise InputError(f"label_scheme '{name}' is unknown; choose one of {', '.join(SCHEMES)}.")
    return SCHEMES[name]


def unknown_values(values: Iterable[int], scheme: Scheme) -> list[int]:
    """Label values that are neither background nor an id of ``scheme``, sorted."""
    return sorted({int(v) for v in values} - {0} - set(scheme.labels))


def refuse_foreign_values(label: torch.Tensor, scheme: Scheme, case: str = "label map") -> None:
    """Refuse ids that are not in the scheme, which would train on the wrong tissue.

    A uint8 map, as a training batch holds it, costs two passes over its bytes; other types are searched for all their
    values.

    Args:
        label: ids, any shape.
        scheme: the ids that are known.
        case: named in the error message.

    Raises:
        InputError: a value is outside the scheme.
    """
    if label.dtype == torch.uint8 and _all_known(label, scheme):
        return
    unknown = unknown_values(torch.unique(label.round().to(torch.int64)).tolist(), scheme)
    if unknown:
        raise InputError(
            f"{case}: label value {', '.join(map(str, unknown))} is not in scheme '{scheme.name}' "
            f"(0, {', '.join(map(str, scheme.labels))}); set label_scheme to the data's own or mend the file."
        )


def labels_to_regions(
    label: torch.Tensor,
    scheme: Scheme,
    regions: Sequence[str] = REGIONS,
    case: str = "label map",
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Turn label ids into one binary channel a region.

    Args:
        label: integer ids, shape (..., 1, H, W, D); a leading batch dimension may be there or not.
        scheme: which ids mean what.
        regions: channel order of the result.
        case: named in the error message.
        dtype: of the result.

    Returns:
        0 and 1 of shape (..., len(regions), H, W, D), on the label's device; a MetaTensor keeps its affine.

    Raises:
        InputError: a value is outside the scheme, or the scheme lacks a region.
    """
    refuse_foreign_values(label, scheme, case)
    return known_labels_to_regions(label, scheme, regions).to(dtype)


def known_labels_to_regions(label: torch.Tensor, scheme: Scheme, regions: Sequence[str] = REGIONS) -> torch.Tensor:
    """:func:`labels_to_regions` without its look at the values, for a device that the host should not wait for.

    Returns:
        uint8 of shape (..., len(regions), H, W, D).

    Raises:
        InputError: the scheme lacks a region.
    """
    missing = [region for region in regions if region not in scheme.regions]
    if missing:
        raise InputError(
            f"region {', '.join(missing)} does not exist in label_scheme '{scheme.name}' "
            f"(it has {', '.join(scheme.regions)}); set regions or label_scheme."
        )
    ids = label if label.dtype == torch.uint8 else label.round().to(torch.uint8)
    return (_bits([scheme.regions[region] for region in regions], ids) >> ids).bitwise_and(1)


def _all_known(label: torch.Tensor, scheme: Scheme) -> bool:
    """Whether every id of a uint8 map is background or in the scheme."""
    if label.numel() == 0 or int(label.max()) > max(scheme.labels):
        return label.numel() == 0
    return bool((_bits([(0, *scheme.labels)], label) >> label).bitwise_and(1).min())


def _bits(groups: Sequence[Sequence[int]], label: torch.Tensor) -> torch.Tensor:
    """A byte for each group of ids below 8, whose bit i tells whether id i is in it, shape (len(groups), 1, 1, 1).

    Shifted right by a label it is that label's membership: one operation instead of a comparison for each id.
    """
    return torch.tensor([sum(1 << i for i in ids) for ids in groups], dtype=torch.uint8, device=label.device).reshape(
        -1, 1, 1, 1
    )


def nest_regions(masks: torch.Tensor, regions: Sequence[str] = REGIONS) -> torch.Tensor:
    """Make ET lie inside TC and TC inside WT: a voxel of a smaller region counts as part of the larger ones as well.

    Args:
        masks: boolean or 0/1 channels, shape (len(regions), H, W, D).
        regions: the channel order of ``masks``.

    Returns:
        The nested masks, of the same shape, type and class.
    """
    nested = masks.clone()
    inside = torch.zeros_like(masks[0])
    for region in ("ET", "TC", "WT"):
        if region in regions:
            channel = regions.index(region)
            inside = torch.maximum(inside, masks[channel])
            nested[channel] = inside
    return nested


def regions_to_labels(masks: torch.Tensor, scheme: Scheme, regions: Sequence[str] = REGIONS) -> torch.Tensor:
    """Turn binary region channels into the scheme's ids; the regions read back from them are :func:`nest_regions`.

    A region that the scheme does not tell apart (TC in ``binary``) is written as the one around it.

    Args:
        masks: boolean or 0/1 channels, shape (len(regions), H, W, D).
        scheme: which id a region's own part is written as.
        regions: the channel order of ``masks``.

    Returns:
        uint8 of shape (1, H, W, D).
    """
    nested = nest_regions(masks, regions)
    label = torch.zeros_like(masks[:1], dtype=torch.uint8)
    for region in ("WT", "TC", "ET"):
        if region in regions and region in scheme.fill:
            label[0].masked_fill_(nested[regions.index(region)] > 0, scheme.fill[region])
    return label


def detect_scheme(values: Iterable[int], declared: dict[int, str] | None = None, naming: str | None = None) -> str:
    """Name the scheme that label values speak for, and a dataset.json's own label table or the files' names if any.

    Args:
        values: every label value seen in the data set.
        declared: id to tissue name from dataset.json's ``labels``, or None.
        naming: the release whose file names the cases have: ``brats2018``, ``brats2023``, ``brats-ped``, or None.

    Returns:
        The scheme's name.

    Raises:
        InputError: nothing fits, several fit, or declaration or names contradict the values.
    """
    seen = {int(v) for v in values} - {0}
    if declared:
        name = _declared_scheme(declared)
        unknown = unknown_values(seen, SCHEMES[name])
        if unknown:
            raise InputError(
                f"dataset.json declares the label ids of scheme '{name}', but the label files hold "
                f"{', '.join(map(str, unknown))}; correct dataset.json or pass --label_scheme."
            )
        return name
    if seen == {1}:
        return "binary"
    if naming == "brats-ped":
        raise InputError(
            "the file names are those of BraTS-PED, whose label ids changed between releases (2024: 1 enhancing, "
            "4 edema) and are in no scheme here; convert the labels and pass --label_scheme with what they then are."
        )
    if naming == "brats2018":
        unknown = unknown_values(seen, SCHEMES[naming])
        if unknown:
            raise InputError(
                f"the file names are those of BraTS up to 2022 (scheme 'brats2018'), but the label files hold "
                f"{', '.join(map(str, unknown))}; pass --label_scheme with the data set's own."
            )
        return naming
    if naming == "brats2023" and seen <= {1, 2, 3}:
        return naming
    # 1, 2 and 4 under the names of 2023 may be older ids in renamed files, or post-treatment cases without enhancement.
    if 4 in seen and 3 not in seen and naming is None:
        return "brats2018"
    if {3, 4} <= seen:
        return "brats2024"
    fits = [scheme.name for scheme in SCHEMES.values() if not unknown_values(seen, scheme)]
    raise InputError(
        f"label values {sorted(seen)} fit {'more than one' if fits else 'no'} scheme"
        f"{' (' + ', '.join(fits) + ')' if fits else ''}, and nothing says which; "
        "pass --label_scheme with the data set's own."
    )


def refuse_declared_otherwise(
    scheme: Scheme, declared: dict[int, str], source: str, option: str = "--label_scheme"
) -> None:
    """Refuse a scheme that a dataset.json denies; a label table that fits no scheme denies none.

    Args:
        scheme: that was asked for.
        declared: id to tissue name from dataset.json's ``labels``.
        source: the file, for the message.
        option: by which the scheme is chosen, for the message.

    Raises:
        InputError: the table is that of another scheme.
    """
    try:
        name = _declared_scheme(declared)
    except InputError:
        return
    if name != scheme.name:
        raise InputError(
            f"label_scheme '{scheme.name}' contradicts {source}, whose labels are those of '{name}'; pass {option} "
            f"{name} or correct dataset.json."
        )


def _declared_scheme(declared: dict[int, str]) -> str:
    """The scheme whose table a dataset.json's ``labels`` describes, by the tissue it gives to each id."""
    names = {int(k): str(v).lower().replace("oedema", "edema") for k, v in declared.items() if int(k) != 0}
    enhancing = [k for k, v in names.items() if v.startswith(("enhancing", "et")) or "gd-enhancing" in v]
    edema = [k for k, v in names.items() if "edema" in v or "snfh" in v]
    fits = {
        (3, 1): "msd",
        (4, 2): "brats2018",
        (3, 2): "brats2024" if 4 in names else "brats2023",
    }
    if len(names) == 1:
        return "binary"
    if len(enhancing) == 1 and len(edema) == 1 and (enhancing[0], edema[0]) in fits:
        return fits[enhancing[0], edema[0]]
    raise InputError(
        f"dataset.json declares labels {names}, which fit no known scheme ({', '.join(SCHEMES)}); "
        "pass --label_scheme with the data set's own."
    )
