"""The widgets of the panel, by name: what to look at, and what to do to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ipywidgets as widgets
from scripts.labels import REGION_NAMES

from .effects import Effects

NARROW, WIDE = "270px", "320px"
# The longest name, magnification, needs this much.
STYLE = {"description_width": "96px"}


def view_controls(
    modalities: Sequence[str],
    first: str,
    regions: Sequence[str],
    slices: Mapping[str, int],
    best_slices: Mapping[str, int],
) -> dict[str, widgets.Widget]:
    """Controls of what is shown: modality, region, plane and slice.

    Args:
        modalities: names to choose among.
        first: the one that is chosen.
        regions: names to choose among; all are chosen.
        slices: number of slices of each plane; the first plane is chosen.
        best_slices: the slice of each plane that is worth showing.
    """
    plane, layout = next(iter(slices)), widgets.Layout(width=NARROW)
    named = [(f"{name} {REGION_NAMES[name]}", name) for name in regions]
    return {
        "modality": widgets.Dropdown(options=list(modalities), value=first, description="modality", layout=layout),
        "region": widgets.SelectMultiple(
            options=named, value=tuple(regions), rows=len(regions), description="region", layout=layout
        ),
        "plane": widgets.Dropdown(options=list(slices), value=plane, description="plane", layout=layout),
        "slice": widgets.IntSlider(
            value=best_slices[plane], min=0, max=slices[plane] - 1, description="slice", layout=layout
        ),
    }


def effect_controls(setting: Effects) -> dict[str, widgets.Widget]:
    """A control for every field of :class:`Effects`, by its name.

    Args:
        setting: where they stand.
    """
    ranges = {
        "degrees": (-45, 45, 1, "Rotate in the plane of the slice"),
        "magnification": (0.7, 1.4, 0.05, "Above 1 the brain gets larger"),
        "gain": (-0.5, 0.5, 0.05, "RandScaleIntensity: times 1 + gain"),
        "shift": (-1, 1, 0.05, "RandShiftIntensity: in standard deviations of the brain"),
        "gamma": (0.4, 2.5, 0.05, "AdjustContrast: below 1 brightens, above 1 darkens"),
        "noise": (0, 1, 0.05, "RandGaussianNoise: its standard deviation"),
        "seed": (0, 20, 1, "Of the noise: the same seed draws the same"),
    }
    controls: dict[str, widgets.Widget] = {}
    for name, (low, high, step, tip) in ranges.items():
        kind = widgets.IntSlider if name == "seed" else widgets.FloatSlider
        controls[name] = kind(
            value=getattr(setting, name),
            min=low,
            max=high,
            step=step,
            description=name,
            tooltip=tip,
            style=STYLE,
            layout=widgets.Layout(width=WIDE),
        )
    controls["flip"] = widgets.Checkbox(
        value=setting.flip, description="flip", tooltip="Mirror the columns", style=STYLE
    )
    return controls
