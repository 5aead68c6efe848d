# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 01 · Transforms, one by one
#
# **After this lab you can**
# - follow a case through the bundle's transforms, and say what each does to shape, voxel size, type and values;
# - choose between the array and the dictionary form, and keep image and label together;
# - resample labels without inventing tissue;
# - normalise so that the network sees the same patient in training as in inference;
# - bring a prediction back to the scanner's grid;
# - say which transforms may be stored, which must stay random, and repeat any draw by its seed.
#
# **Before you start** you need lab 00: header, modalities, labels and regions. Two questions you should be able to
# answer:
#
# <details><summary>What does the affine of a scan say?</summary>
# Where each voxel lies in millimetres: the voxel size, and which way each axis of the array runs.
# </details>
#
# <details><summary>A label map holds the ids 1 and 3 side by side. What does the mean of the two, 2, mean?</summary>
# Nothing. Ids are names, not amounts. Remember it for section 3.
# </details>

# %% tags=["parameters"]
DATA: str = "embedded"  # embedded (synthetic patients), a folder in a known layout, or s3://bucket/prefix
CASE: int = 0  # which of the labelled cases to take apart, counted from 0
SPACING_MM: float = 3.0  # edge of a voxel after resampling; not the data's own (phantom: 2 mm), which resamples nothing
PATCH: int = 32  # side of the random patches, in voxels; above about 100 mm the effect of section 4 vanishes
DRAWS: int = 200  # random crops in each measurement
SEED: int = 0  # of everything random

# %%
import numpy as np
import torch
from IPython.display import display
from labkit import preparation, preparation_figures
from labkit.checks import predict, reveal
from labkit.data import dataset, label_scheme, listed
from labkit.effects import Effects
from labkit.figures import show
from labkit.panel import TransformPanel
from labkit.preparation_checks import DETERMINISTIC, RANDOM, check_flip, check_order, check_resize_modes
from labkit.tables import table
from monai import transforms as mt
from scripts.layouts import MODALITIES
from scripts.patches import RandPatchd
from scripts.transforms import NormalizeBraind

# %%
dataset_dir = dataset(DATA)
case, scheme, spacing = listed(dataset_dir)[CASE], label_scheme(dataset_dir), [SPACING_MM] * 3
plan = [
    ["case", case["case"]],
    ["label scheme", scheme.name],
    ["resample to", f"{SPACING_MM:g} mm"],
    ["patches", f"{PATCH} voxels a side, {PATCH * SPACING_MM:g} mm"],
    ["takes", "under a minute; nothing is trained, nothing is written"],
]
table(plan, ["plan", ""])

# %% [markdown]
# ## 1 · The bundle's chain
#
# A transform is a function from data to data. The bundle's training lists its transforms in
# [train.json](../bundle/configs/train.json): first the deterministic ones, then the random ones. `"_target_"` names a
# class, the other entries are its arguments, and `@spacing` looks a knob up. That list is what runs below.
#
# The second transform cuts every volume to the *brain box*, the smallest box that holds all voxels that are not 0.
#
# **Predict** how much of the volume is left after it.

# %%
kept = predict("What percentage of the voxels lies in the brain box?", 60, unit="%")  # solution

# %%
deterministic = preparation.bundle_transforms("deterministic_transforms", spacing=spacing)
steps = preparation.trace(deterministic, case)
loaded, boxed, oriented, spaced, normalised, final = steps
columns = ["after", "shape", "mm", "axes", "type", "MB", "values", "ms"]
table([preparation.step_row(step) for step in steps], columns, f"{case['case']}, transform by transform")

# %%
reveal(
    kept,
    100 * boxed.label.numel() / loaded.label.numel(),
    f"The rest is air around the head. {loaded.megabytes:.0f} MB become {boxed.megabytes:.0f} before anything costly.",
)
assert boxed.label.sum() == loaded.label.sum(), "the box must not cut tumour off"

# %% tags=["figure"]
show(
    preparation_figures.steps_figure([loaded, boxed, oriented, spaced, normalised], 0, MODALITIES[0]),
    alt="One slice after each transform: the air is cut off, the array is turned to RAS, coarser, then rescaled.",
)

# %% [markdown]
# **What you saw.** `LoadImaged` gives a tensor with the channel first, (C, H, W, D), in the file's own type, with the
# affine at its side: a `MetaTensor`. `CropToBraind` takes a view: it copies nothing. `Orientationd` turns the array
# to RAS, so that the first axis runs to the patient's Right in every case. `SeparableSpacingd` is the first to make
# floats. `NormalizeBraind` makes mean 0 and deviation 1; the dark rim in its picture is voxels that interpolation
# made half of brain, half of air. The label went along, and stayed one map of uint8 ids.
#
# ## 2 · Two forms: array and dictionary
#
# MONAI has every transform twice. `NormalizeIntensity` takes an array. `NormalizeIntensityd`, with a **d**, takes a
# dictionary and the `keys` it shall change. Deterministic ones give the same either way. The bundle's own
# `NormalizeBraind` is a faster third.

# %%
scan = spaced.image.as_tensor()
by_array = mt.NormalizeIntensity(nonzero=True, channel_wise=True)(scan.clone())
by_dictionary = mt.NormalizeIntensityd(keys="image", nonzero=True, channel_wise=True)({"image": scan.clone()})["image"]
by_bundle = NormalizeBraind(keys="image")({"image": scan.clone()})["image"]
difference = max(float((by_array - other).abs().max()) for other in (by_dictionary, by_bundle))
assert difference < 1e-3
print(f"largest difference between the three: {difference:.1e} standard deviations")

# %% [markdown]
# Random transforms are another matter. Call the array form `RandFlip(prob=0.5)` on the image, then on its label.
#
# **Predict** in how many of 100 patients the two no longer fit each other.

# %%
apart = predict("In what percentage of the draws are image and label apart?", 50, unit="%")  # solution

# %%
measured_apart = 100 * preparation.flips_apart(DRAWS, SEED)
reveal(apart, measured_apart, "Each call draws for itself: one is flipped and the other not in half of the cases.")

# %% tags=["figure"]
middle = preparation_figures.largest_slice(final.label)
plane, ids = np.asarray(final.image[2, :, :, middle]), np.asarray(final.label[0, :, :, middle])
show(
    preparation_figures.pair_figure(
        {"image and label as they are": (plane, ids), "only the image flipped": (plane[::-1], ids)},
        scheme,
        "No error, no warning: a network trained on the right picture learns that tumours look like healthy brain",
    ),
    alt="Left, the tumour's labels cover the tumour. Right, they cover healthy brain on the other side.",
)

# %% [markdown]
# **What you saw.** Nothing warns you. The dictionary form draws once and does the same to all its keys.
#
# **Exercise.** Make a flip along the first spatial axis, of every other patient, that keeps image and label together.

# %%
flip = mt.RandFlipd(keys=("image", "label"), prob=0.5, spatial_axis=0)  # solution
check_flip(flip)

# %% [markdown]
# ## 3 · A label is a name, not an amount
#
# To resample is to ask for values between the voxels. An image is interpolated linearly. What if the label map is,
# too?
#
# **Predict** how many different values the label map then holds, where it held four.

# %%
values = predict("How many different values?", 30)  # solution

# %%
linear = mt.Spacing(pixdim=spacing, mode="bilinear")(oriented.label)
nearest = mt.Spacing(pixdim=spacing, mode="nearest")(oriented.label)
found = len(torch.unique(linear))
reveal(values, found, "A voxel between 1 and 3 gets 2, or 1.5, or 2.4: no tissue has such an id.")
# Where the spacing is the data's own, nothing is interpolated.
assert SPACING_MM != 3 or found > len(torch.unique(nearest))
assert set(torch.unique(nearest).tolist()) <= {0, *scheme.labels}

# %% [markdown]
# "So round it", says the hurried colleague. Count the voxels of each tissue after that.

# %%
rounded = linear.round()
rows = [
    [f"{value} {tissue}", int((nearest == value).sum()), int((rounded == value).sum())]
    for value, tissue in scheme.labels.items()
]
table(rows, ["tissue", "voxels, nearest", "voxels, linear and rounded"], "what rounding makes of a label map")

# %% tags=["figure"]
at = preparation_figures.largest_slice(nearest)
behind = np.asarray(spaced.image[2, :, :, at])
picture = preparation_figures.pair_figure(
    {
        "nearest": (behind, np.asarray(nearest[0, :, :, at])),
        "linear, then rounded": (behind, np.asarray(rounded[0, :, :, at])),
    },
    scheme,
    "Between two ids rounding writes a third: a rim of tissue that nobody has seen",
)
show(picture, alt="With nearest the ring touches edema; with linear and rounded a thin rim of core lies between them.")

# %% [markdown]
# **What you saw.** Rounding does not heal it. In the Decathlon, halfway between edema (1) and enhancing tumour (3)
# lies 2, which is another tissue: the error lands in the tumour core, the region that the surgeon asks about.
#
# **Spot the bug.** This line brings cases to one size for a 3-D network, and stood in a published training (its
# second key was called `mask`):
#
# ```python
# Resized(keys=("image", "label"), spatial_size=(128, 128, 64))
# ```
#
# `Resized` takes `mode`, `"area"` unless told otherwise: the mean of the voxels that fall into the new one.
#
# **Exercise.** Write the modes, the image's first. (MONAI calls linear interpolation of a volume `trilinear`.)

# %%
modes = ("area", "nearest")  # solution
check_resize_modes(modes, {"image": final.image, "label": final.label})

# %% [markdown]
# ## 4 · Normalise over what, and when
#
# MRI has no unit: the same brain is 300 in one scanner and 900 in the next. So each channel is brought to mean 0 and
# standard deviation 1. Over which voxels? An older TensorFlow system took all of them, the zeros of the air too.
#
# **Predict** what the mean of the *brain* is then.

# %%
brain_mean = predict("What is the mean of the brain's voxels, in standard deviations?", 1.5)  # solution

# %%
rows, brains = [], {}
for over, nonzero in (("all voxels", False), ("the brain", True)):
    for where, step in (("whole volume", loaded), ("brain box", boxed)):
        raw = step.image[:1].as_tensor().float()
        changed = mt.NormalizeIntensity(nonzero=nonzero, channel_wise=True)(raw.clone())
        figures = preparation.brain_statistics(changed[0], raw[0] != 0)
        rows.append([over, where, *(round(value, 2) + 0.0 for value in figures)])
        brains[f"over {over}, {where}"] = np.asarray(changed[0][raw[0] != 0])
table(rows, ["normalised over", "of", "brain: mean", "brain: deviation", "air"], f"{MODALITIES[0]}, four ways")

# %%
reveal(
    brain_mean,
    float(rows[0][2]),
    "The air pulls mean and deviation, so the brain's values depend on how much air the file holds: cut it off, and "
    "the same brain has other values. Over the brain alone both rows agree.",
)
assert rows[2][2:4] == rows[3][2:4] and abs(rows[0][2] - rows[1][2]) > 0.1

# %% tags=["figure"]
show(
    preparation_figures.histogram_figure(brains, "The same brain, four ways: only two of the curves are one"),
    alt="Histograms of the brain's values: over all voxels they shift with the air; over the brain the two coincide.",
)

# %% [markdown]
# Note the air in the last rows: 0, which now is also the mean of the brain. Blank looks like average tissue.
#
# **When?** A published recipe crops at random first and normalises the crop. Take one voxel, of the brain's median
# brightness, and follow it through many crops.
#
# **Predict**: by how many standard deviations does its value range, from the 5 % lowest crops to the 5 % highest?

# %%
spread = predict(f"How far does one voxel's value range, in crops of {PATCH} voxels a side?", 0.4)  # solution

# %%
published = [
    mt.LoadImaged(keys="image", ensure_channel_first=True),
    mt.Spacingd(keys="image", pixdim=spacing, mode="bilinear"),
    mt.Orientationd(keys="image", axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
]
flair = mt.Compose(published)({"image": case["image"]})["image"][:1]
brain = flair[flair != 0]
median = float(brain.median())
published_size = [round(mm / SPACING_MM) for mm in (192, 192, 128)]
sizes = {"published, 192 x 192 x 128 mm": published_size} | {f"{side} voxels": [side] * 3 for side in (48, PATCH, 16)}
spreads = {name: preparation.values_after_crop(flair, median, size, DRAWS, SEED) for name, size in sizes.items()}
ranges = {name: float(np.ptp(np.percentile(values, (5, 95)))) for name, values in spreads.items()}

# %%
whole = (median - float(brain.mean())) / float(brain.std(unbiased=False))
reveal(
    spread,
    ranges[f"{PATCH} voxels"],
    "Each crop has a mean and a deviation of its own, so the same voxel changes with its neighbourhood. The shift that "
    f"training adds on purpose is at most 0.1. Normalised first, the value is {whole:.2f} in every crop.",
)
# A patch that holds nearly the whole brain has nearly its mean.
assert PATCH * SPACING_MM > 100 or ranges[f"{PATCH} voxels"] > 0.05
table(
    list(ranges.items()), ["crop", "range of one voxel's value"], f"{DRAWS} crops each, none of which is nearly all air"
)

# %% tags=["figure"]
show(
    preparation_figures.spread_figure(spreads, whole, "One voxel of FLAIR in many crops: the smaller, the less sure"),
    alt="Dots of the voxel's value by crop size scatter more the smaller the crop; normalised first it is one line.",
)

# %% [markdown]
# **What you saw.** With large crops the published order does little harm; with small ones it hides what the scan
# says. It costs twice more: inference, which does not crop, sees other statistics than training did; and nothing
# after a random step can be cached, so every epoch normalises again. The bundle normalises first.
#
# **Exercise.** Put the steps of a training chain in order.

# %%
shuffled = sorted((*DETERMINISTIC, *RANDOM))
print(", ".join(shuffled))

# %%
order = [*DETERMINISTIC, *RANDOM]  # solution
check_order(order)

# %% [markdown]
# ## 5 · There and back
#
# A prediction is made on the network's grid; the radiologist wants it on the scanner's. Each spatial transform writes
# into the MetaTensor how to undo it (`applied_operations`), and `Compose.inverse` walks that list backwards.
#
# **Predict** the Dice of the whole tumour after a journey to the coarse grid and back, 1 being unharmed.

# %%
survived = predict("Which Dice has WT after the journey?", 0.95)  # solution

# %%
back = preparation.there_and_back(deterministic, case)
assert back.shape == loaded.label.shape and torch.allclose(back.affine, loaded.label.affine)
scores = preparation.region_dice(np.asarray(back[0]), np.asarray(loaded.label[0]), scheme)
reveal(
    survived,
    scores["WT"],
    "Shape and affine are the scanner's again. What nearest neighbour dropped on the coarse grid does not come back.",
)
assert SPACING_MM > 3 or 0.7 < scores["WT"] <= 1
table([[name, score] for name, score in scores.items()], ["region", "Dice, there and back"])

# %% [markdown]
# **What you saw.** The journey alone costs Dice, and thin regions pay most: no network can win it back. So the bundle
# scores on the scanner's grid, where this loss counts, and carries *probabilities* back, which interpolate well, to
# decide there. Its own 2 mm cost data of 2 mm nothing. Normalisation has no inverse: intensities do not return.
#
# ## 6 · What is random
#
# [RandPatchd](../bundle/scripts/patches.py) cuts a patch, flips it, turns it if asked to, and changes gain and
# offset. It draws first: all that is random about a patch is a few numbers, a `Draw`. Then one deterministic step
# gathers it.

# %%
recipe = RandPatchd(num_samples=1, patch_size=[PATCH] * 3).recipe
rng, rows = np.random.default_rng(SEED), []
for number in range(1, 5):
    draw = recipe.draw(rng, final.label.shape[1:], len(MODALITIES), {})
    signs = " ".join("yes" if mirrored else "no" for mirrored in draw.flip)
    rows.append([number, draw.start, signs, f"{draw.gain[0]:.3f}", f"{draw.offset[0]:+.3f}"])
table(rows, ["draw", "lowest corner", "flip H W D", f"gain {MODALITIES[0]}", "offset"], f"seed {SEED}")

# %%
data = {"image": final.image, "label": final.label}
patches = RandPatchd(num_samples=4, patch_size=[PATCH] * 3).set_random_state(seed=SEED)(data)
again = RandPatchd(num_samples=4, patch_size=[PATCH] * 3).set_random_state(seed=SEED)(data)
other = RandPatchd(num_samples=4, patch_size=[PATCH] * 3).set_random_state(seed=SEED + 1)(data)
assert all(torch.equal(one["image"], two["image"]) for one, two in zip(patches, again, strict=True))
assert not all(torch.equal(one["image"], two["image"]) for one, two in zip(patches, other, strict=True))

# %% tags=["figure"]
show(
    preparation_figures.patches_figure(patches, scheme, 2, "Four patches of one patient in T1gd, all different"),
    alt="Middle slices of four random patches of one patient, some mirrored, most with tumour.",
)

# %% [markdown]
# The same seed made the same patches, another seed made others. MONAI's random transforms keep their own generator:
# `set_determinism` reaches those in a `Compose` that is made after it; any other needs `set_random_state`. MONAI's
# DataLoader gives each worker process another seed.
#
# Most patches hold tumour because two thirds are centred on it: `tumour_crops` is 0.67 in train.json.
#
# **Predict** what share of smaller patches, half as long, would hold tumour if they lay anywhere (`tumour_crops` 0).

# %%
anywhere = predict("What percentage of the patches holds tumour, if they lie anywhere?", 50, unit="%")  # solution

# %%
ids = np.asarray(final.label[0])
small, shares = [PATCH // 2] * 3, {}
for wanted in (0.0, recipe.tumour_crops, 1.0):
    recipe_of_crops = RandPatchd(patch_size=small, tumour_crops=wanted).recipe
    shares[wanted] = 100 * preparation.share_with_tumour(recipe_of_crops, ids, DRAWS, SEED)
reveal(
    anywhere, shares[0.0], f"With tumour_crops at {recipe.tumour_crops:g} it is {shares[recipe.tumour_crops]:.0f} %."
)
assert shares[0.0] <= shares[recipe.tumour_crops] <= shares[1.0] == 100

# %% [markdown]
# ### What may be stored
#
# A deterministic step gives the same in every epoch: compute it once and store it. A random one must be drawn anew
# each time, or it is no augmentation. MONAI tells them apart by a trait, and its caching data sets stop at the first
# random one.

# %%
random = preparation.bundle_transforms("random_transforms", patch_size=[PATCH] * 3, crops_per_case=2, tumour_crops=0.67)
rows = [
    [type(one).__name__, *(("yes", "draw anew") if isinstance(one, mt.RandomizableTrait) else ("no", "may be stored"))]
    for one in [*deterministic, *random]
]
table(rows, ["transform", "random", "so"])

# %%
located = mt.Compose(random[:-1])(data)
seconds = preparation.trace([lambda item: random[-1](item)[0]], located)[0].seconds
before = sum(step.seconds for step in steps)
print(f"deterministic part {1000 * before:.0f} ms a case, random part {1000 * seconds:.1f} ms for two patches")
assert seconds < before

# %% [markdown]
# **What you saw.** Nearly all of the time goes into what never changes; lab 03 measures the ways to store it. The
# opposite mistake was published, too: random crops and flips written to disk once, one frozen draw for all epochs.
# Lab 04 measures what that costs.
#
# ## 7 · Try it: Python answers
#
# The viewer of lab 00 needs no Python. This panel does: each change runs one slice through the transforms.
#
# - Set `gamma` to 0.5, then 2. Does the ring in T1gd stand out more or less? What happens to the blank around it?
# - Set `shift` to 0.1, what the bundle draws at most; then to 1. When does it stop being the same patient?
# - Add `noise`, and move `seed`: which parts change?
#
# The blank is 0, the brain's mean, so it shows grey. Without a running kernel you see a picture of the panel here.

# %% tags=["figure"]
panel = TransformPanel(data, MODALITIES, scheme, effects=Effects(degrees=12, gain=0.1, gamma=0.8, noise=0.1))
display(panel)

# %% [markdown]
# ## What to take away
#
# - Load, brain box, orientation, spacing, normalisation: each changes one thing, and the box throws the air away
#   before anything costly. Type and shape tell where you are.
# - The array form draws for each call, and parts image and label in half of the draws; the dictionary form draws once
#   for all keys.
# - Labels take the nearest voxel's id. Linear interpolation invents values, and rounding them invents tissue.
# - Normalise over the brain and before any crop: then air does not matter, and one voxel has one value in training
#   and in inference.
# - Spatial transforms undo themselves from what the MetaTensor remembers. A coarse grid costs Dice, thin regions
#   most.
# - Store what is deterministic, draw the rest anew; a seed repeats every draw.
#
# ## Left behind
#
# Nothing but the phantom in your user cache, which the other labs use.
#
# ## Go further
#
# - MONAI's transforms, all of them: [docs.monai.io](https://docs.monai.io/en/stable/transforms.html)
# - Isensee et al. 2021, *nnU-Net*: what to normalise, resample and augment, and why,
#   [doi](https://doi.org/10.1038/s41592-020-01008-z)
# - The bundle's transforms: [patches.py](../bundle/scripts/patches.py),
#   [transforms.py](../bundle/scripts/transforms.py), [resample.py](../bundle/scripts/resample.py)
