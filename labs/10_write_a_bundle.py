# ---
# jupyter:
#   jupytext: {formats: "ipynb,py:percent", text_representation: {extension: .py, format_name: percent}}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 10 · Write a bundle
#
# **After this lab you can**
#
# - write a MONAI Bundle for a task of your own: network, transforms, loss, metric, engines, and run it
# - look at what an augmentation does before it trains anything, and find what a published one did
# - recognise a score that is too good, find out why it is, and write the check that would have told
# - compare three remedies for rare classes, after the split, with intervals
# - say what must travel with the weights: the best epoch, the classes in order, the temperature
# - serve a bundle that the server was not written for, and read its answer
#
# **Before you start** you have run a bundle (lab 02) and served one (lab 09). Can you answer these two?
#
# <details><summary>What is <code>@image_size</code> in a config, and what <code>$2 * @image_size</code>?</summary>
# A reference to the entry of that name, and an expression in which it stands.</details>
#
# <details><summary>Nine of ten patients are healthy. What is the accuracy of a model that always says so?</summary>
# 90 %, and it has found nobody. Its balanced accuracy, the mean recall of both classes, is 50 %.</details>

# %% tags=["parameters"]
IMAGES: str = "synthetic"  # synthetic, or a folder in HAM10000's layout; other data than the other labs' DATA
PICTURES: int = 1000  # about how many to use of a larger folder
EPOCHS: int = 7  # passes of your own bundle's training
FINISHED_EPOCHS: int = 5  # passes of each training of the finished bundle, or about as many steps
SIDE: int = 48  # side of the networks' input in pixels, at least 32; 64 as published takes longer

# %% [markdown]
# ## 1 · The pictures
#
# HAM10000 has 10,015 dermatoscopic pictures of seven kinds of skin lesion. Its licence keeps it out of this project,
# so by default these are *drawn* ones in its layout: seven looks of the same mean colour. No drawing resembles the
# disease it is labelled with, and **nothing measured on them means anything clinically**.

# %%
import labkit  # noqa: F401
from labkit.checks import predict, reveal
from labkit.commands import run
from labkit.figures import show
from labkit.lesion_figures import grid_figure
from labkit.lesions import counts, images_of, pictures
from labkit.project import SKIN_BUNDLE, work
from labkit.tables import table

images_dir = pictures(IMAGES)
images = images_of(images_dir, PICTURES)
folder = work("10", fresh=True)
print(f"{len(images)} pictures of {len({image.lesion for image in images})} lesions")

# %% tags=["figure"]
show(
    grid_figure(images_dir, images),
    alt=f"Three pictures of each of seven classes. Number of pictures of each: {counts(images)}.",
)

# %% [markdown]
# **Predict.** A "model" always says the most frequent class. What is its balanced accuracy, the mean of the seven
# recalls?

# %%
lazy = predict("Balanced accuracy of one answer for all?", 0.14)  # solution

# %%
import numpy as np
from skin_lesions.classes import CLASSES
from skin_lesions.scores import score

truth = np.array([image.label for image in images])
always = np.tile(np.eye(len(CLASSES))[np.bincount(truth).argmax()], (len(truth), 1))
scored = score(truth, always)
assert np.isclose(scored["balanced_accuracy"], 1 / len(CLASSES)) and scored["macro_auc"] == 0.5
reveal(
    lazy,
    scored["balanced_accuracy"],
    f"1 of 7, though {scored['accuracy']:.0%} of its answers are right.",
)

# %% [markdown]
# ## 2 · An augmentation, looked at
#
# A published experiment on these pictures augments them so:
#
# ```python
# RandRotate(range_x=15, prob=0.5, keep_size=True),
# RandFlip(spatial_axis=0, prob=0.5),
# RandZoom(min_zoom=0.9, max_zoom=1.1, prob=0.5, keep_size=True),
# ```
#
# **Predict.** The largest turn, in degrees, among 200 pictures that this RandRotate turns?

# %%
turn = predict("Largest turn in degrees?", 15, unit="°")  # solution

# %%
from labkit.lesion_figures import angles, turned_figure
from monai.transforms import RandRotate

published_turn = RandRotate(range_x=15, prob=1.0, keep_size=True)
largest = max(map(abs, angles(published_turn)))
assert largest > 360
reveal(turn, largest, "More than two whole turns, to either side. Nothing failed, nothing warned.")

# %% [markdown]
# **Exercise.** Why? `help(RandRotate)` says what `range_x` is. Write the one that was meant.

# %%
import math

from labkit.lesion_checks import check_turn

range_x = math.radians(15)  # solution
check_turn(range_x)

# %% tags=["figure"]
mended_turn = RandRotate(range_x=range_x, prob=1.0, keep_size=True)
assert max(map(abs, angles(mended_turn))) <= 15
show(
    turned_figure(images_dir / images[0].file, {"range_x=15": published_turn, "mended": mended_turn}),
    alt="One lesion turned six times by each transform: above by any angle up to 859 degrees, below by at most 15.",
)

# %% [markdown]
# **What you saw.** `range_x` is in radians: 15 of them are 859°, and nearly every angle is as likely as any other.
# Corners are smeared where the picture has none. A lesion has no up, so it costs little here; a
# chest X-ray or a brain has one. Look at twenty augmented pictures before you train on them.
#
# ## 3 · Write the bundle
#
# A bundle is a folder with `configs/`. You write its `train.json` here as a dict, part by part. First the knobs:

# %%
recipe = {
    "dataset_dir": str(images_dir),
    "datalist_file": "datalist.json",
    "image_size": SIDE,
    "epochs": EPOCHS,
    "batch_size": 8,
    "learning_rate": 0.005,
    "seed": 42,
    "device": "$torch.device('cpu')",
}

# %% [markdown]
# **Exercise.** Three entries, each a dict with a `_target_` and its arguments:
#
# - the network: MONAI's `DenseNet` for two dimensions, colour in, a number for each class out, and, to be small,
#   `"init_features": 32, "growth_rate": 16, "block_config": [2, 2, 2]`
# - the loss on logits and a class's number: PyTorch's `torch.nn.CrossEntropyLoss`
# - the metric: MONAI's handler `ROCAUC`, whose `output_transform` is `"$monai.handlers.from_engine(['pred', 'label'])"`

# %%
from labkit.lesion_checks import check_parts

network = loss = metric = ...
# solution begins
network = {
    "_target_": "DenseNet", "spatial_dims": 2, "in_channels": 3, "out_channels": 7,
    "init_features": 32, "growth_rate": 16, "block_config": [2, 2, 2],
}  # fmt: skip
loss = {"_target_": "torch.nn.CrossEntropyLoss"}
metric = {"_target_": "ROCAUC", "output_transform": "$monai.handlers.from_engine(['pred', 'label'])"}
# solution ends
check_parts(network, loss, metric, SIDE)

# %% [markdown]
# **Exercise.** The published order: scale 0..255 to 0..1, turn (your `range_x`), flip, zoom by 0.9 to 1.1, resize to
# `["@image_size", "@image_size"]`; random ones with `"prob": 0.5`. Items are dicts with the picture under `"image"`, so
# the names end in `d`: `ScaleIntensityRanged` (`a_min`, `a_max`, `b_min`, `b_max`), `RandRotated`, ...

# %%
from labkit.lesion_checks import check_transforms

published = ...
# solution begins
random = {"keys": "image", "prob": 0.5}
published = [
    {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 255, "b_min": 0.0, "b_max": 1.0},
    {"_target_": "RandRotated", **random, "range_x": range_x},
    {"_target_": "RandFlipd", **random, "spatial_axis": 0},
    {"_target_": "RandZoomd", **random, "min_zoom": 0.9, "max_zoom": 1.1},
    {"_target_": "Resized", "keys": "image", "spatial_size": ["@image_size", "@image_size"]},
]
# solution ends
check_transforms(published, SIDE)

# %% [markdown]
# The rest is the same in every bundle: read and batch a part of the datalist, step, validate, keep the best, log.

# %%
recipe |= {"network": network, "loss": loss, "metric": metric, "published": published, "load": [
    {"_target_": "LoadImaged", "keys": "image", "reader": "PILReader"},
    {"_target_": "EnsureChannelFirstd", "keys": "image", "channel_dim": -1},
]}  # fmt: skip


def loader(part, transforms):
    data = f"$monai.data.load_decathlon_datalist(@datalist_file, False, '{part}', @dataset_dir)"
    dataset = {
        "_target_": "CacheDataset", "data": data, "progress": False, "hash_as_key": True,
        "transform": {"_target_": "Compose", "transforms": transforms},
    }  # fmt: skip
    return {"_target_": "DataLoader", "dataset": dataset, "batch_size": "@batch_size", "shuffle": part == "training"}


# %%
log = {"_target_": "StatsHandler", "iteration_log": False}
keep = {"_target_": "CheckpointSaver", "save_dir": ".", "save_dict": {"network": "@network"}}
keep |= {"save_key_metric": True, "key_metric_filename": "model.pt"}
softmax = {"_target_": "Activationsd", "keys": "pred", "softmax": True}
one_hot = {"_target_": "AsDiscreted", "keys": "label", "to_onehot": 7}
recipe["validate"] = {
    "_target_": "SupervisedEvaluator", "device": "@device", "network": "@network",
    "val_data_loader": loader("validation", "$@load + [@published::0, @published::4]"),
    "postprocessing": {"_target_": "Compose", "transforms": [softmax, one_hot]},
    "key_val_metric": {"val_auc": "@metric"},
    "val_handlers": [log, keep],
}  # fmt: skip

# %%
rate = {"optimizer": "@optimizer", "max_lr": "@learning_rate", "epochs": "@epochs"}
rate |= {"_target_": "torch.optim.lr_scheduler.OneCycleLR", "steps_per_epoch": "$len(@train::train_data_loader)"}
adam = {"_target_": "torch.optim.AdamW", "params": "$@network.parameters()", "lr": "@learning_rate"}
recipe |= {"optimizer": adam, "lr_scheduler": rate, "train": {
    "_target_": "SupervisedTrainer", "device": "@device", "network": "@network", "max_epochs": "@epochs",
    "train_data_loader": loader("training", "$@load + @published"),
    "loss_function": "@loss", "optimizer": "@optimizer", "train_handlers": [
        {"_target_": "LrScheduleHandler", "lr_scheduler": "@lr_scheduler", "epoch_level": False, "print_lr": False},
        {"_target_": "ValidationHandler", "validator": "@validate", "interval": 1},
    ],
}}  # fmt: skip
recipe["initialize"] = ["$monai.utils.set_determinism(@seed)", "$monai.data.set_track_meta(False)"]
recipe["run"] = ["$@train.run()"]

# %% [markdown]
# `set_track_meta(False)`: nobody inverts these transforms, and keeping record of them would take longer than the
# network.
#
# ## 4 · A score that is too good
#
# The published experiment copied the pictures of its rare classes until each had about 5,000, and shared all files out
# at random: 80 % training, 10 % validation, 10 % test. We do the same with a small study's lesions, and put the others
# away: nobody sees `held_out` before the network is trained.

# %%
from labkit.lesion_models import write_bundle
from labkit.lesions import copied, held_out, split_by_file, write_datalist

seen, away = held_out(images)
parts = split_by_file(copied(seen))
mine = write_bundle(recipe, folder / "my_bundle")
entries = write_datalist(parts | {"held_out": away}, mine / "datalist.json")
table(
    [[part, len(of_part)] for part, of_part in entries.items()],
    ["part", "pictures"],
    "As published: copied, then split",
)

# %% [markdown]
# **Predict** the AUC on the validation part, the mean of the seven classes, after a minute at most of a small network.
# 0.5 is chance, 1 perfect.

# %%
validated = predict("Validation AUC, split as published?", 0.99)  # solution

# %%
# A second thread gains nothing on pictures as small as these.
done = run("python -m monai.bundle run --config_file configs/train.json", cwd=mine, env={"OMP_NUM_THREADS": "1"})

# %%
from labkit.lesion_models import judged

too_good = judged(mine, images_dir, entries["validation"])
best_logged = max(float(line.split()[-1]) for line in done.find(r"Metrics -- val_auc: [\d.]+"))
assert abs(too_good["macro_auc"] - best_logged) < 1e-3
reveal(validated, too_good["macro_auc"], "Your bundle runs, and the task looks all but solved. Distrust that.")

# %% [markdown]
# **Predict.** The same weights, asked about the lesions that were put away: what is the balanced accuracy there? On
# the validation part it is this:

# %%
print(f"balanced accuracy on the validation part: {too_good['balanced_accuracy']:.2f}")

# %%
honest_guess = predict("Balanced accuracy on lesions that were put away?", 0.95)  # solution

# %%
honest = judged(mine, images_dir, entries["held_out"])
# Your own pictures may need few copies, and have little to leak.
assert IMAGES != "synthetic" or all(honest[key] < too_good[key] for key in ("balanced_accuracy", "macro_auc"))
reveal(
    honest_guess,
    honest["balanced_accuracy"],
    f"The same network. AUC {too_good['macro_auc']:.3f} has become {honest['macro_auc']:.3f}; one of the two is wrong.",
)

# %% [markdown]
# **Exercise.** What have training and validation in common? `entries["training"]` is a list of dicts with `image`,
# `label`, `lesion` and `name`. Write the check that finds the lesions on both sides.

# %%
from labkit.lesion_checks import check_both_sides


def lesions_on_both_sides(training, validation):
    shared = ...
    # solution begins
    shared = {entry["lesion"] for entry in training} & {entry["lesion"] for entry in validation}
    # solution ends
    return shared


check_both_sides(lesions_on_both_sides)

# %%
leaked = lesions_on_both_sides(entries["training"], entries["validation"])
all_validated = {entry["lesion"] for entry in entries["validation"]}
assert leaked and not lesions_on_both_sides(entries["training"], entries["held_out"])
without_copies = write_datalist(split_by_file(seen), folder / "without_copies.json")
still = lesions_on_both_sides(without_copies["training"], without_copies["validation"])
rows = [["copied, then split by file", f"{len(leaked)} of {len(all_validated)} lesions"]]
rows += [["split by file without copies", f"{len(still)} lesions, of which several pictures are here"]]
rows += [["held out by lesion", "none"]]
table(rows, ["split", "validation shares with training"])

# %% [markdown]
# How much is that worth? Ask something that has learned *nothing*: it knows the training pictures by heart, at 16 x 16
# pixels, and answers with the class of the most similar one.

# %%
from labkit.lesion_models import by_heart

knows = [by_heart(images_dir, entries["training"], entries[part]) for part in ("validation", "held_out")]
rows = [["your network", too_good, honest], ["by heart", *knows]]
assert IMAGES != "synthetic" or knows[0]["macro_auc"] > honest["macro_auc"] > 0.85 > knows[1]["macro_auc"]
table(
    [[name, *(one[key] for key in ("macro_auc", "balanced_accuracy") for one in both)] for name, *both in rows],
    ["", "AUC, leaky", "AUC, held out", "balanced accuracy, leaky", "balanced accuracy, held out"],
)

# %% [markdown]
# **What you saw.** A leaky split rewards memory: what knows pictures by heart looks perfect there, better than your
# network on new lesions, where it fails itself. Such figures rank models wrongly. Split by lesion (by patient, where
# you know them) *first*; copy, weigh or augment afterwards, and in the training part alone.
#
# ## 5 · The finished bundle
#
# [`skin_lesion_bundle`](skin_lesion_bundle/docs/README.md) is yours with the rest around it:
#
# | yours | there |
# |---|---|
# | network, loss, transforms, engines | in [train.json](skin_lesion_bundle/configs/train.json), with DenseNet121 |
# | `datalist.json` from the lab | `skin_lesions.splits`: by lesion, each class by itself, seeded |
# | `model.pt` of the best epoch | with `model.json`: classes, recipe, split, temperature; and `model_last.pt` |
# | scores in the lab | `evaluate.json`: intervals over lesions, confusion matrix, ROC curves, a report |
# | nothing | `inference.json`: a folder of pictures in, an answer each out |
#
# What does it say to your datalist?

# %%
from skin_lesions.errors import InputError
from skin_lesions.splits import datalist

try:
    datalist(str(images_dir), str(mine / "datalist.json"), [0.7, 0.15, 0.15], seed=42)
    refused = ""
except InputError as error:
    refused = str(error)
assert "one part is wanted" in refused
print(refused.replace(str(mine), "..."))

# %% [markdown]
# **Rare classes.** Three remedies, each an override of a few lines in `configs/imbalance/`, each after the split: draw
# rare pictures more often, weigh their loss, or list them repeatedly. The fourth run has none. The command for one is
# `python -m monai.bundle run --config_file "['configs/train.json','configs/imbalance/weighted_loss.json']"`; here they
# run in this process, with your small network, and all of them for about as many steps.
#
# **Predict.** Which has the highest balanced accuracy on the test part?

# %%
from labkit.lesion_models import PLAIN, REMEDIES, finished_run

best_remedy = predict("Which run finds the rare classes best?", "oversample", choices=(PLAIN, *REMEDIES))  # solution

# %%
from labkit.lesion_models import equal_epochs
from skin_lesions.splits import items

# A third of the lesions is for the test, or its intervals would be wider still.
small = {"network_def": network, "image_size": SIDE, "batch_size": 8, "learning_rate": 0.005}
small |= {"split_ratios": [0.5, 0.15, 0.35], "stored_side": 64}
split = datalist(str(images_dir), None, small["split_ratios"], seed=42)
epochs = dict.fromkeys((PLAIN, *REMEDIES), FINISHED_EPOCHS)
# Copies make an epoch longer.
epochs["oversample"] = equal_epochs(FINISHED_EPOCHS, items(split, "training"))
runs = {name: finished_run(name, images_dir, folder, small | {"epochs": count}) for name, count in epochs.items()}

# %%
from skin_lesions.compare import compare, read_run
from skin_lesions.scores import score as scores_of

tested = {name: read_run(one.run_dir) for name, one in runs.items()}
found = {name: scores_of(one.truth, one.probabilities)["balanced_accuracy"] for name, one in tested.items()}
compared, differences = compare(tested)
shown = ["ROC AUC, mean of classes", "balanced accuracy", "accuracy", "recall df", "recall nv"]
shown += ["ECE without temperature", "ECE with temperature"]
assert IMAGES != "synthetic" or max(found[name] for name in REMEDIES) > found[PLAIN]
table([[row, *compared[row]] for row in shown], ["with 95 % interval", *tested], "The held-out test part")

# %%
table(
    [[row, *differences[row]] for row in shown[:5]], ["difference from plain", *REMEDIES], "The same images, in pairs"
)

# %%
reveal(
    best_remedy,
    max(found, key=found.get),
    "Sampler and copies show each class as often as any other. Whether a remedy helps is told by the second table: an "
    "interval that holds 0 is no difference yet. And the best of three, chosen by the test part, looks better than it "
    "is; another seed may exchange two of the runs.",
)

# %% [markdown]
# ## 6 · What travels with the weights
#
# The published training wrote its best model into a folder that was lost with the machine, and deployed the *last*
# epoch. Is that the same?

# %%
from labkit.lesion_models import best_and_last

rows = [[name, *best_and_last(one)] for name, one in runs.items()]
assert all(one.about()["epoch"] == best for one, (_, _, best, *_) in zip(runs.values(), rows, strict=True))
table(rows, ["run", "epochs", "best epoch", "validation AUC there", "in the last epoch", "times it fell"])

# %% [markdown]
# With a learning rate that falls to nothing the last is often the best. On the way the AUC falls now and then, and a
# job that ends early (a spot machine, a time limit) ends there. So keep both and deploy the best.
#
# **Predict.** A model without its list of classes answers: "channel 4". Its author had them in the order of
# `value_counts()`, most frequent first; you assume the alphabet. You say "mel". What did the model say?

# %%
channel = predict("Channel 4, by frequency?", "akiec", choices=CLASSES)  # solution

# %%
by_frequency = sorted(CLASSES, key=lambda code: -counts(images)[code])
chosen = max(runs.values(), key=lambda one: best_and_last(one)[2])
about = chosen.about()
assert about["classes"] == list(CLASSES) and about["temperature"] > 0
reveal(
    channel,
    by_frequency[4],
    "The published model was kept without names. Here model.json has them.",
)
table(
    [[key, str(about[key])] for key in ("epoch", "classes", "image_size", "temperature")], ["model.json", chosen.name]
)

# %% [markdown]
# The *temperature* divides the logits, so that a confidence of 0.8 is right about 8 times in 10 (Guo et al. 2017). It
# is fitted on the validation part and changes no answer. How far confidence and truth are apart is the ECE in the table
# of section 5; 0 is best.
#
# ## 7 · Serve it
#
# The same container program as in lab 09, which was written for brains. The chosen run is the best on the *validation*
# part; the test part must not choose.

# %%
from labkit.endpoint import Endpoint, cases_folder, make_artifact

artifact = make_artifact(chosen.ckpt_dir, folder / "artifact", SKIN_BUNDLE, "skin_lesions")
one_each = {item["label"]: item for item in items(about["datalist"], "test")}
asked = {item["name"]: item for item in one_each.values()}
sent = cases_folder([{"case": name, "image": [item["image"]]} for name, item in asked.items()], folder / "cases")
(folder / "cases" / "notes.jpg").write_bytes(b"not a picture")
endpoint = Endpoint(artifact, folder / "container")
print(f"ready after {endpoint.cold_start_s:.0f} s")

# %%
import json

answers = {case.name: endpoint.realtime(case).json() for case in sent}
print(json.dumps(answers[sent[0].name], indent=1))

# %% tags=["figure"]
from pathlib import Path

from labkit.lesion_figures import answers_figure

files = [Path(asked[case.name]["image"]) for case in sent]
truths = [CLASSES[asked[case.name]["label"]] for case in sent]
show(
    answers_figure(files, truths, list(answers.values())),
    alt="One test picture of each class with the served class, its probability and its calibrated confidence: "
    + ", ".join(f"{truth} as {answer['class']}" for truth, answer in zip(truths, answers.values(), strict=True)),
)

# %% [markdown]
# Is it what the bundle's own evaluation said of these pictures? And what happens to a JPEG that is none?

# %%
from sm_launch.predict_cases import find_cases

evaluated = dict(zip(tested[chosen.name].images, tested[chosen.name].probabilities, strict=True))
for name, answer in answers.items():
    assert np.allclose(list(answer["probabilities"].values()), evaluated[name], atol=1e-3)
broken = next(case for case in find_cases(folder / "cases") if case.name == "notes")
refusal = endpoint.realtime(broken)
assert refusal.status == 400
print(refusal.status, refusal.json()["error"])

# %%
endpoint.stop()
assert endpoint.server.returncode() is not None
print("The program has ended; nothing listens any more.")

# %% [markdown]
# In an account (untested on AWS) the launcher does all of it from the spec that the bundle brings, in the project's
# root, once bucket and roles in it are yours:
#
# ```
# python -m sm_launch plan labs/skin_lesion_bundle/docs/sagemaker.yaml
# python -m sm_launch apply labs/skin_lesion_bundle/docs/sagemaker.yaml
# python -m sm_launch predict RUN folder_of_jpegs answers
# python -m sm_launch down RUN
# ```
#
# ## What to take away
#
# - A bundle is a folder with `configs/train.json`: your parts and the usual engines, run by `monai.bundle` alone.
# - `range_x=15` turned pictures by up to 859°; only looking at them, or at the angles, told.
# - Copied files on both sides let memory pass for skill; the check compares lesions, and the finished bundle refuses.
# - Sampler, weights and copies act after the split; intervals of paired differences say whether one of them helps.
# - `model.json` goes with `model.pt`: best epoch, classes in order, recipe, temperature.
# - The container served it unchanged: a JPEG in; class, probability and calibrated confidence out.
#
# ## Cloud cost
#
# None here. In an account: an hour of ml.g5.xlarge to train, and the endpoint for as long as you leave it.
#
# ## Left behind
#
# `labs/work/10`, which lab 11 removes with `EVERYTHING = True`, and the drawn pictures in the user's cache; the program
# has ended.
#
# ## Go further
#
# - `IMAGES = "/path/to/HAM10000"`, and `configs/recipe/published.json` with your check in mind
# - Tschandl et al. 2018, [The HAM10000 dataset](https://doi.org/10.1038/sdata.2018.161)
# - Guo et al. 2017, [On Calibration of Modern Neural Networks](https://arxiv.org/abs/1706.04599)
# - Kapoor and Narayanan 2023, [Leakage and the reproducibility crisis in machine-learning-based
#   science](https://doi.org/10.1016/j.patter.2023.100804)
# - [MONAI Bundle specification](https://docs.monai.io/en/stable/mb_specification.html)
