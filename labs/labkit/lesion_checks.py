"""Check cells of lab 10."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine
from monai.bundle import ConfigParser
from monai.handlers import ROCAUC
from skin_lesions.classes import CLASSES

from .checks import answered, called, hint, require, right

DEGREES = 15
# What each step of the published order may be called.
ORDER = {
    "scale": ("ScaleIntensityRanged", "ScaleIntensityd"),
    "turn": ("RandRotated",),
    "flip": ("RandFlipd", "RandAxisFlipd"),
    "zoom": ("RandZoomd",),
    "resize": ("Resized",),
}
ZOOMS = (0.9, 1.1)


def check_turn(range_x: Any) -> None:
    """Exercise: the argument that makes RandRotate turn by up to 15 degrees."""
    turn = answered(range_x, "range_x")
    require(isinstance(turn, int | float), f"range_x is {turn!r}; a number of radians is wanted.")
    require(turn != DEGREES, "that is 15 radians again, more than two whole turns. How many radians has a half turn?")
    require(
        not math.isclose(turn, math.degrees(DEGREES)), "that goes from radians to degrees; the other way is wanted."
    )
    require(math.isclose(turn, math.radians(DEGREES), rel_tol=0.01), f"{turn:g} rad are {math.degrees(turn):.3g}°.")
    right(
        f"15° are {turn:.3f} rad. A name says more than a number: write math.radians(15) wherever a human thinks 15°."
    )


def check_transforms(published: Any, side: int) -> None:
    """Exercise: the five transforms in the published order, as a config has them.

    Args:
        published: five dicts with ``_target_``.
        side: of the square picture that comes out.
    """
    entries = answered(published, "published")
    require(isinstance(entries, Sequence) and len(entries) == len(ORDER), "five entries are wanted, a dict each.")
    for entry, (step, names) in zip(entries, ORDER.items(), strict=True):
        require(isinstance(entry, Mapping) and "_target_" in entry, f"{entry!r} is no dict with a _target_.")
        require(
            entry["_target_"] in names,
            f"{entry['_target_']} stands where the published order has '{step}'; the d at the end of a name stands for "
            "dictionary.",
        )
        require(entry.get("keys") in ("image", ["image"]), f"{entry['_target_']}: which entry of an item is changed?")
    made = _made({"image_size": side, "published": entries}, "published")
    scale, turn, _, zoom, resize = made
    half = scale({"image": torch.linspace(0, 255, 3 * 64).reshape(3, 8, 8)})["image"]
    require(
        half.min() >= 0 and half.max() <= 1, f"after scaling, values lie between {half.min():g} and {half.max():g}."
    )
    require(
        math.isclose(max(map(abs, turn.rand_rotate.range_x)), math.radians(DEGREES), rel_tol=0.01),
        "the turn is not that of the exercise before; take range_x.",
    )
    found = (zoom.rand_zoom.min_zoom, zoom.rand_zoom.max_zoom)
    require(tuple(value[0] for value in found) == ZOOMS, f"it zooms between {found[0]} and {found[1]}.")
    shape = tuple(resize({"image": torch.rand(3, 60, 80)})["image"].shape)
    require(shape == (3, side, side), f"a picture leaves as {shape}; the network takes {(3, side, side)}.")
    right("Random ones in the middle: what stands before them can be cached, and the picture shrinks once, at the end.")


def check_parts(network: Any, loss: Any, metric: Any, side: int) -> None:
    """Exercise: network, loss and metric, as a config has them."""
    entries = {"network": network, "loss": loss, "metric": metric}
    for name, entry in entries.items():
        require(
            isinstance(answered(entry, name), Mapping) and "_target_" in entry, f"{name} is no dict with a _target_."
        )
    made = _made(entries, "network")
    try:
        logits = made.eval()(torch.zeros(2, 3, side, side))
    except RuntimeError as error:
        hint(f"the network does not take pictures (2, 3, {side}, {side}): {str(error).splitlines()[0]}")
    shape = tuple(logits.shape)
    require(shape == (2, len(CLASSES)), f"for two pictures the network gives {shape}; a number a class is wanted.")
    value = _made(entries, "loss")(torch.zeros(2, len(CLASSES)), torch.tensor([0, 4]))
    require(
        value.numel() == 1 and math.isclose(float(value), math.log(len(CLASSES)), rel_tol=1e-3),
        f"a network that knows nothing has a cross-entropy of ln 7 = 1.946; this loss says {value.tolist()}.",
    )
    judge = _made(entries, "metric")
    require(isinstance(judge, ROCAUC), f"{type(judge).__name__} does not give the area under the ROC curve.")
    judge.attach(engine := Engine(lambda _, output: output), "auc")
    truth = torch.eye(len(CLASSES))
    try:
        area = engine.run([[{"pred": row, "label": row} for row in truth]]).metrics["auc"]
    except (KeyError, TypeError, ValueError) as error:
        hint(f"the metric cannot read what an evaluator gives, items with 'pred' and 'label': {error}")
    require(math.isclose(area, 1), f"of perfect answers the metric says {area:g}.")
    right("Seven logits, compared with the class's number by cross-entropy; judged by how well each class is ranked.")


def check_both_sides(lesions_on_both_sides: Callable[..., Any]) -> None:
    """Exercise: the lesions that two parts share, tried on parts of which that is known."""

    def entry(lesion: str, picture: int) -> dict[str, Any]:
        name = f"{lesion}_{picture}"
        return {"image": f"{name}.jpg", "label": 0, "lesion": lesion, "name": name}

    training = [entry("A", 1), entry("B", 1), entry("C", 1), entry("C", 1)]
    alone = called(lesions_on_both_sides, training, [entry("D", 1)])
    require(not isinstance(alone, bool | int), f"it returns {alone!r}; return the lesions, to see which they are.")
    require(not set(alone), f"it finds {sorted(alone)} in parts that share nothing.")
    copy = set(called(lesions_on_both_sides, training, [entry("C", 1), entry("D", 1)]))
    require(bool(copy), "one picture of lesion C lies on both sides, and it finds nothing.")
    other = set(called(lesions_on_both_sides, training, [entry("A", 2), entry("D", 1)]))
    require(bool(other), "two pictures of lesion A, of different names, lie on two sides; what have they in common?")
    require(copy == {"C"} and other == {"A"}, f"it returns {sorted(other)} where the lesion 'A' is shared.")
    right("Compare what must be independent, the lesion (better: the patient), never the names of files.")


def _made(entries: Mapping[str, Any], name: str) -> Any:
    """What an entry of a config becomes."""
    try:
        return ConfigParser(dict(entries)).get_parsed_content(name)
    # Whatever a reader's entry raises is a hint about the entry.
    except Exception as error:
        cause = error.__cause__ or error
        hint(f"{name} cannot be made: {str(cause).splitlines()[0]}")
