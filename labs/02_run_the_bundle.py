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
# # 02 · Run the bundle
#
# **After this lab you can**
# - read a bundle's config: a knob, an object, an expression; and change any of them from outside;
# - train, evaluate and infer with `python -m monai.bundle run`, and say what each command leaves on disk;
# - read the curves, and say which epoch's weights were kept and why;
# - read Dice and HD95 by region and by case, empty regions included;
# - spot two published mistakes that made a validation worthless without any error.
#
# **Before you start** you should know what the regions WT, TC and ET are (lab 00) and what a transform is (lab 01).
# Two questions to think about; this lab answers them:
#
# <details><summary>A network answers "healthy" for every voxel of a brain, and 98 % of the voxels are healthy. Is it
# good?</summary>
# No. Accuracy is 98 % and Dice of the tumour is 0: Dice looks only at voxels that truth or prediction call tumour.
# </details>
#
# <details><summary>Which cases may choose the epoch whose weights are kept, and which may judge the result?</summary>
# Validation cases choose. Whoever was chosen by them looks better on them than it is, so other cases judge: the test
# part, which nothing but the evaluation reads.
# </details>

# %% tags=["parameters"]
DATA: str = "embedded"  # embedded (synthetic patients), a folder in a known layout, or s3://bucket/prefix
STEPS: int = 160  # optimiser steps of the training, 50 at least; the epochs follow from the number of cases

# %%
from labkit.checks import predict, reveal
from labkit.commands import run
from labkit.configs import check_best_epoch, check_overrides, knob_rows, refusal
from labkit.data import dataset, label_scheme
from labkit.figures import show
from labkit.model import TRAIN, bundle_command, prepare, typed
from labkit.project import work
from labkit.recipe import recipe
from labkit.tables import table

# %%
dataset_dir = dataset(DATA)
scheme = label_scheme(dataset_dir)
training = prepare(dataset_dir, work("02", fresh=True), steps=STEPS)
cases = training.counts()
table(
    [[*cases.values(), training.steps, "about a minute on 2 cores", "$0"]],
    [*cases, "optimiser steps", "this lab takes", "it costs"],
    "The plan: three parts, which share no patient",
)

# %% [markdown]
# ## 1 · Read the recipe
#
# A MONAI Bundle is a folder: `configs/` says *what* happens, `scripts/` holds the Python that is named there.
# `train.json` is the whole recipe. On top stand its *knobs*, each a plain value with a description.

# %%
parser = recipe()
table(
    knob_rows(parser, ["epochs", "learning_rate", "spacing", "patch_size", "crops_per_case", "ckpt_dir"]),
    ["knob", "value", "what it is"],
    "Six of the knobs of train.json",
)

# %% [markdown]
# Below the knobs stand *objects*: a dict with `_target_` is a call. `@name` is a reference. A text that begins with
# `$` is an *expression*, evaluated when it is asked for. So `ckpt_dir` above is no folder yet.
#
# **Predict.** You set `bundle_root` to `/project`. Where do the models go?

# %%
folder = predict(
    "What does ckpt_dir become?", "/project/models", choices=("/project/models", "./models", "@bundle_root/models")
)  # solution
moved = recipe({"bundle_root": "/project"})
reveal(
    folder,
    moved.get_parsed_content("ckpt_dir"),
    "The expression is evaluated late, so it sees the override. One knob moves all that refers to it.",
)

# %% [markdown]
# An **override** is an entry's id and a new value: `--epochs 5` on the command line, or a small JSON file after
# `train.json` in `--config_file`. `::` reaches into an object: `network_def::channels` is `[16, 32, 64, 128, 256]`
# here, and `network_def::strides` is `[2, 2, 2, 2]`.
#
# **Exercise.** Make the recipe small enough for two cores: voxels of 3 mm, crops of 32 voxels, and a UNet of *four*
# levels that begins with 8 channels and doubles them at each level. Each step down has a stride of 2.

# %%
overrides = ...
# solution begins
overrides = {
    "spacing": [3.0, 3.0, 3.0],
    "patch_size": [32, 32, 32],
    "network_def::channels": [8, 16, 32, 64],
    "network_def::strides": [2, 2, 2],
}
# solution ends
check_overrides(overrides)

# %% [markdown]
# **Predict.** You type `--learning_rat 0.01`, one letter short. MONAI's config parser takes any name. What does this
# bundle do?

# %%
misspelt = predict(
    "A misspelt knob:", "stops", choices=("trains as if it were not there", "warns and trains", "stops")
)  # solution
sentence = refusal([TRAIN], {"learning_rat": 0.01, "dataset_dir": str(dataset_dir)})
print(f"error: {sentence}")
assert "learning_rate" in sentence
reveal(misspelt, "stops", "MONAI alone would train for hours with the default. The bundle asks who reads each entry.")

# %% [markdown]
# ## 2 · Train
#
# `small.json` holds the overrides of your exercise and a few more: as small a network bears a learning rate of 0.01.
# `datalist.json` is the split.

# %%
from scripts.files import read_json

table(read_json(training.knobs_file, "override").items(), ["id", "value"], "small.json, merged over train.json")

# %% [markdown]
# **Predict** the Dice of the whole tumour on the validation cases after these few steps: 0 is no overlap, 1 is
# perfect. Experts who outline the same tumour agree to 0.74 to 0.85, depending on the region (Menze et al. 2015).

# %%
wt_dice = predict("Dice of WT after the training?", 0.85)  # solution

# %%
done = run(training.command())

# %%
from scripts.records import read_metrics

records = read_metrics(training.run_dir / "metrics.jsonl")
validated = [record for record in records if "val_mean_dice" in record]
reveal(
    wt_dice,
    validated[-1]["val_dice_WT"],
    f"A mean over {cases['validation']} cases after {records[-1]['epoch']} epochs: one that is missed pulls it down. "
    "A blob in the right place scores well already; fine borders are what takes days.",
)
assert validated[-1]["val_dice_WT"] > validated[0]["val_dice_WT"]

# %% [markdown]
# ## 3 · Read the curves
#
# The run's folder has all that one needs to tell what was done. Every line of `metrics.jsonl` is an epoch.

# %%
about = {
    "metrics.jsonl": "loss, learning rate, Dice and seconds, a line an epoch",
    "config.json": "the recipe with all overrides",
    "datalist.json": "which case was in which part",
    "command.txt": "the command, to be typed again",
    "versions.json": "of Python and its packages",
    "log.txt": "what was said, with times",
    "report.html": "all of it as one page",
}
assert all((training.run_dir / name).is_file() for name in about)
table(about.items(), ["file", "what it tells"], "What a training leaves in its run folder")

# %% [markdown]
# **Exercise.** `records` is a list of dicts, `validated` are those with a `val_mean_dice`. Which epoch's weights
# should be kept? Write an expression that finds it.

# %%
best_epoch = max(validated, key=lambda record: record["val_mean_dice"])["epoch"]  # solution
check_best_epoch(best_epoch, training)

# %% tags=["figure"]
from labkit.scores import curves_figure

show(
    curves_figure(records, best_epoch),
    alt=f"Training loss falls over {records[-1]['epoch']} epochs; validation Dice of TC, WT and ET rises, unevenly.",
)

# %% [markdown]
# **What you saw.** The loss is a mean over many random crops and falls smoothly. Dice here is a mean over
# few cases and jumps. Keep that in mind for section 7.
#
# ## 4 · Evaluate
#
# The test part has been read by nobody so far. `evaluate.json` is an override as well: the network, the spacing and
# the transforms are those that `model.json` notes. Scores are on the scanner's own grid: the prediction goes back to
# it, not the truth to ours.
#
# **Predict.** Which region has the lowest mean Dice?

# %%
hardest = predict("Which region is hardest?", "ET", choices=("TC", "WT", "ET"))  # solution

# %%
done = run(bundle_command([TRAIN, "configs/evaluate.json"], **training.places()))

# %%
from labkit.scores import case_scores, score_rows

regions = parser["regions"]
rows = case_scores(training.run_dir / "test")
table(
    score_rows(rows, regions),
    ["case", *(f"Dice {name}" for name in regions), *(f"{name} ml" for name in regions)],
    "Test cases: Dice, and the true volume",
)

# %% tags=["figure"]
from labkit.scores import scores_figure

means = {name: sum(row["dice"][name] for row in rows) / len(rows) for name in regions}
reveal(
    hardest,
    min(means, key=means.get),
    f"Means: {', '.join(f'{name} {value:.2f}' for name, value in means.items())}. The smallest "
    "structures are learned last and lose Dice to every voxel of border, and a case that has none of a region "
    "scores 1 or 0, nothing between.",
)
show(scores_figure(rows, regions), alt="A point a test case and a bar a mean, for the regions TC, WT and ET.")

# %% [markdown]
# ## 5 · Infer, and look
#
# New patients have no label. `inference.json` takes a folder of cases and writes a label volume each. Here the new
# patient is a test case, so that there is something to compare with: the scans are copied without the label.
#
# **Predict.** In how many voxels does the result differ from what the evaluation predicted for that case?

# %%
differing = predict("How many voxels differ?", 0)  # solution

# %%
from labkit.scores import only_case

row = min(rows, key=lambda row: row["dice"]["WT"])
patient = only_case(row, training.folder / "new_patient")
predictions = training.folder / "predictions"
done = run(
    bundle_command(
        ["configs/inference.json"], dataset_dir=typed(patient), ckpt_dir=typed(training.folder),
        output_dir=typed(predictions), save_probabilities="True",
    )
)  # fmt: skip

# %%
from labkit.scores import voxels

(written,) = predictions.glob("*_seg.nii.gz")
changed = int((voxels(written) != voxels(row["prediction"])).sum())
reveal(differing, changed, "Training, evaluation and inference take the same transforms from model.json.")
assert changed == 0

# %% [markdown]
# Now look at it, the case with the lowest WT Dice of all. Switch between truth, prediction and the error map, and
# jump to the worst slice. Numbers say how much is wrong; only the picture says *what*: a border, an island, a missed
# core.

# %% tags=["figure"]
from scripts.viewer import show_case

show_case(row["image"], label=row["truth"], prediction=written, label_scheme=scheme.name, title=row["case"])

# %% [markdown]
# ## 6 · Scores at their edges
#
# Some tumours have no enhancing part: look for 0.0 ml in the table of section 4. Dice is twice the overlap, divided
# by the sum of both volumes; with nothing on either side that is 0 / 0.
#
# **Predict.** There is none, and the network finds none. What does BraTS give it?

# %%
nothing = predict("Dice of an empty region that was rightly left empty?", 1, choices=(0, 1, "left out"))  # solution

# %%
from labkit.scores import empty_region_rows

edge_rows = empty_region_rows()
table(edge_rows, ["the region", "Dice, BraTS 2023 rules", "Dice, MONAI's DiceMetric", "HD95 in mm"])

# %%
reveal(
    nothing,
    int(edge_rows[0][1]),
    "BraTS counts it as perfect, and a hallucinated region as 0. MONAI leaves both out, so a network that paints a "
    "ring into every tumour pays nothing for it.",
)

# %% [markdown]
# HD95 is the distance, in mm, within which 95 % of each surface finds the other one. Dice is about volume, HD95 about
# where. Here the truth itself is spoilt in three ways.

# %%
import nibabel as nib
from labkit.scores import hd95_rows, region_masks

truth = region_masks(row["truth"], scheme, regions)
wt = truth[:, [regions.index("WT")]]
spoilt = hd95_rows(wt, nib.load(row["truth"]).header.get_zooms()[:3])
_, voxel, block, _ = spoilt
assert voxel[1] > 0.99 and voxel[2] == 0 and block[1] > 0.9 and block[2] > 20
table(spoilt, ["prediction", "Dice WT", "HD95 in mm"], row["case"])

# %% [markdown]
# **What you saw.** A stray voxel costs neither score anything: fewer than 5 % of the surface are wrong. A stray block
# hardly moves Dice and sends HD95 across the head. Report both.
#
# ## 7 · Spot the bug, twice
#
# Two places in a published workshop on the Decathlon data. Nothing fails, no warning is shown.
#
# ```python
# post_trans = Compose([Activations(sigmoid=True), AsDiscrete(threshold=True)])  # in validation
# ...
# if metric > best_metric:                         # on every process
#     torch.save(model.state_dict(), ...)          # by rank 0
# ```
#
# **Exercise.** What is wrong with the first line? Write the transform that was meant.

# %%
from labkit.validation_bugs import check_threshold
from monai.transforms import AsDiscrete

mended = AsDiscrete(threshold=0.5)  # solution
check_threshold(mended)

# %%
from labkit.validation_bugs import threshold_rows

(probabilities,) = predictions.glob("*_prob.nii.gz")
rules = {"AsDiscrete(threshold=True)": AsDiscrete(threshold=True), "mended": mended}
bug_rows = threshold_rows(voxels(probabilities), truth, rules, regions)
assert bug_rows[0][1] < bug_rows[1][1]
table(bug_rows, ["rule", "voxels in WT", *(f"Dice {name}" for name in regions)], f"The same network, {row['case']}")

# %% [markdown]
# It was right once: MONAI before 1.0 took `threshold=True` as a switch. The version was not pinned, so one day the
# same notebook began to call nearly everything healthy, and the "best" model became a random one.
#
# The second line is about processes. Validation had 5 cases, training ran on 8 GPUs, and PyTorch's
# `DistributedSampler` deals out the cases. **Predict** how many cases rank 0 scores.

# %%
from labkit.validation_bugs import shards

on_rank_0 = predict("Cases on rank 0, of 5 cases on 8 processes?", 1)  # solution
dealt = shards(cases=5, processes=8)
print("case on each rank:", dealt)
reveal(
    on_rank_0,
    len(dealt[0]),
    "One, and three cases are scored twice to fill up. Nothing was gathered, so the best model was chosen by one case.",
)

# %% [markdown]
# How much does one case tell? Here is the Dice of your worst and of your best test case, each a mean over regions,
# beside what the last two validations differ by:

# %%
by_case = [sum(row["dice"].values()) / len(row["dice"]) for row in rows]
last_gain = validated[-1]["val_mean_dice"] - validated[-2]["val_mean_dice"]
table(
    [[min(by_case), max(by_case), max(by_case) - min(by_case), abs(last_gain)]],
    ["worst case", "best case", "between them", "the last two validations differ by"],
)

# %% [markdown]
# **Exercise.** All processes have sent what they scored: a list of `(case, dice)` pairs, in which the padding makes
# some cases appear twice. Write the mean that a single process would have found.


# %%
from labkit.validation_bugs import check_gathered_mean


def gathered_mean(pairs):
    mean = ...
    # solution begins
    dice_of = dict(pairs)
    mean = sum(dice_of.values()) / len(dice_of)
    # solution ends
    return mean


check_gathered_mean(gathered_mean, by_case)

# %% [markdown]
# ## What to take away
#
# - A config is knobs, objects (`_target_`), references (`@`) and expressions (`$`); an override changes an entry by
#   its id, in a file or on the command line, and a misspelt one is refused.
# - Three commands train, evaluate and infer; `model.json` carries network and transforms from one to the next, so
#   inference gave the evaluation's very voxels.
# - The curves come from `metrics.jsonl`; `model.pt` holds the epoch with the best validation Dice, and the test part
#   judges it.
# - Dice and HD95 are read by region and by case: an empty region left empty is a 1, a stray block shows in HD95 only.
# - `AsDiscrete(threshold=True)` compares with 1, and a validation that is not gathered is one case's opinion; neither
#   raised an error.
#
# ## Left behind
#
# `labs/work/02`: the model, its run folder and one prediction. The lab empties it when it is run
# again; lab 11 removes it with `EVERYTHING = True`.
#
# ## Go further
#
# - Open `labs/work/02/runs/small/report.html` in a browser: the same run as one page
# - Every knob, network and override: [the model card](../bundle/docs/README.md)
# - [MONAI Bundle specification](https://docs.monai.io/en/stable/mb_specification.html) and [config
#   syntax](https://docs.monai.io/en/stable/config_syntax.html)
# - Menze et al. 2015, [The Multimodal Brain Tumor Image Segmentation
#   Benchmark](https://doi.org/10.1109/TMI.2014.2377694)
# - Maier-Hein et al. 2024, [Metrics reloaded](https://doi.org/10.1038/s41592-023-02151-z): which score for which
#   question
# - How the bundle validates on many GPUs: [distributed.md](../bundle/docs/distributed.md), and lab 05
