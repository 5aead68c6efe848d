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
# # 07 · Track experiments
#
# **After this lab you can**
# - track one training in TensorBoard, MLflow and W&B at once, offline, by adding a config;
# - read each tracker's own file back from Python, and prove that all of them hold the same numbers;
# - find the best of several runs, with `scripts.compare` and by a query to MLflow;
# - say what happens to a training when its tracking server is away;
# - keep a key out of configs, run folders, trackers and job descriptions.
#
# **Before you start** you should have run the bundle (lab 02). No account and no key is needed.
# Two questions to think about; this lab answers them:
#
# <details><summary>Three trackers show three curves of one training. Which one is right?</summary>
# All or none: they should be copies. It is worth knowing which file they are copies of.
# </details>
#
# <details><summary>Where may a program take an API key from?</summary>
# From the environment of its process, in the moment of use. Whatever is passed as a parameter gets written down.
# </details>

# %% tags=["parameters"]
DATA: str = "embedded"  # embedded (synthetic patients), a folder in a known layout, or s3://bucket/prefix
CASES: int = 8  # cases to use, in training, validation and test together
STEPS: int = 48  # optimiser steps of each of the two trainings; the epochs follow from the number of cases
LEARNING_RATE: float = 0.01  # peak learning rate of the first run
SECOND_LEARNING_RATE: float = 0.0005  # and of the second

# %%
from labkit.checks import predict, reveal
from labkit.commands import run
from labkit.configs import refusal
from labkit.data import dataset
from labkit.figures import show
from labkit.model import TRAIN, prepare, typed
from labkit.project import work
from labkit.tables import table

# %%
dataset_dir = dataset(DATA)
training = prepare(dataset_dir, work("07", fresh=True), steps=STEPS, cases=CASES)
TRACK = ("configs/track/mlflow.json", "configs/track/wandb.json")
table(
    [[2, *training.counts().values(), training.steps, "TensorBoard, MLflow, W&B offline", "$0"]],
    ["trainings", "training", "validation", "test", "steps each", "tracked in", "it costs"],
    "The plan",
)

# %% [markdown]
# ## 1 · One run, three trackers
#
# The bundle writes `metrics.jsonl`, a line an epoch, and TensorBoard's events. MLflow and W&B are two overrides that
# append to a list called `trackers`. No line of the training changes.
#
# **Predict.** `metrics.jsonl` holds this run's numbers in the least space. How many times as much do the three
# trackers take on disk together?

# %%
times_more = predict("How many times the bytes of metrics.jsonl?", 1000)  # solution

# %% [markdown]
# A key for W&B lies in the environment, as a secret manager puts it there. It is made up; offline needs none.

# %%
import os

made_up_key = "feedbeef" * 5
os.environ["WANDB_API_KEY"] = made_up_key
first = run(training.command(*TRACK, run_name="first", learning_rate=str(LEARNING_RATE), image_interval="4"))

# %%
from labkit.tracked import store_bytes

first_dir = training.run_dir.with_name("first")
held = store_bytes(first_dir)
table([[name, f"{count / 1e3:,.1f}"] for name, count in held.items()], ["store", "kB"], "What one short run takes")

# %%
reveal(
    times_more,
    round((sum(held.values()) - held["metrics.jsonl"]) / held["metrics.jsonl"]),
    "Trackers also keep pictures, files, the knobs and indices to search by. That is what they are for.",
)

# %% [markdown]
# ## 2 · Read them back
#
# Each has a file format of its own: TensorBoard an event file of protobuf records, MLflow an SQLite database, W&B
# a log that `wandb sync` would send. All can be read from Python without a server.
#
# **Predict.** Of all numbers in `metrics.jsonl` (losses, learning rates, Dice of each region, seconds), how many does
# at least one tracker hold otherwise, or not at all?

# %%
otherwise = predict("How many numbers differ?", 0)  # solution

# %%
from labkit.tracked import READERS, disagreements, from_metrics

truth = from_metrics(first_dir)
found = {tracker: read(first_dir) for tracker, read in READERS.items()}
differing = disagreements(truth, found)
table(
    [["metrics.jsonl", len(truth), sum(map(len, truth.values()))]]
    + [[tracker, len(curves), sum(map(len, curves.values()))] for tracker, curves in found.items()],
    ["store", "metrics", "numbers"],
)

# %%
from labkit.tracked import side_by_side

assert not differing, differing
table(
    side_by_side(truth, found, ["train_loss", "val_mean_dice"]),
    ["metric", "epoch", "metrics.jsonl", *found],
    "Two of the metrics, number by number",
)

# %%
reveal(
    otherwise,
    len(differing),
    "Every tracker is fed from metrics.jsonl, under its names, at the epoch as step. TensorBoard rounds to float32.",
)

# %% tags=["figure"]
from labkit.tracked import curves_figure

show(curves_figure(found, "train_loss"), alt="The training loss of one run in three panels, which show the same curve.")

# %% [markdown]
# **What you saw.** `metrics.jsonl` is the original, and it lies with the model; the trackers are copies for looking
# and searching. If your group changes trackers next year, nothing is lost.
#
# | | TensorBoard | MLflow | W&B |
# |---|---|---|---|
# | to look at it | `tensorboard --logdir runs` | `mlflow ui`, as below | `wandb sync`, then its website |
# | searches by knobs | no | yes | yes |
# | for several people | no | with a server of your own | with their service |
#
# Typed in `labs/work/07`: `mlflow ui --backend-store-uri sqlite:///runs/mlflow.db`.
#
# ## 3 · Two runs
#
# **Predict.** The second run takes a learning rate of 0.0005 in place of 0.01, and the same few steps. What happens
# to its validation Dice? MLflow alone follows it, in place of all three.

# %%
second_is = predict("The second run's Dice will be", "lower", choices=("lower", "about the same", "higher"))  # solution

# %%
second = run(
    training.command(
        TRACK[0], run_name="second", learning_rate=str(SECOND_LEARNING_RATE), ckpt_dir=typed(training.folder / "second")
    )
)

# %% [markdown]
# `python -m scripts.compare --output_dir ../labs/work/07/runs`, typed in `bundle/`, prints the runs side by side, the
# best first, with the knobs in which they differ. From Python:

# %%
from scripts.compare import compare, find_runs

rows = compare(find_runs([], training.run_dir.parent), sort="val_mean_dice")
columns = ["run", "learning_rate", "best_epoch", "train_loss", "val_mean_dice", "minutes"]
table([[row["run"].rsplit("/", 1)[-1], *(row[name] for name in columns[1:])] for row in rows], columns)

# %%
dice = {row["run"].rsplit("/", 1)[-1]: row["val_mean_dice"] for row in rows}
gap = dice["second"] - dice["first"]
measured = "about the same" if abs(gap) < 0.02 else ("higher" if gap > 0 else "lower")
reveal(
    second_is,
    measured,
    f"{dice['first']:.2f} and {dice['second']:.2f}. In so few steps the small rate has hardly begun, which says "
    "nothing about where it would end. A comparison is fair only if each run had the steps that it needs.",
)

# %% [markdown]
# **Exercise.** Ask MLflow for the name of the run with the highest `val_mean_dice`. `client.search_runs` takes
# `order_by=["metrics.NAME ASC"]`, among others.

# %%
from labkit.tracked import EXPERIMENT, check_best_run, mlflow_client

client = mlflow_client(training.run_dir.parent)
experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
best_run = ...
# solution begins
ordered = client.search_runs([experiment], order_by=["metrics.val_mean_dice DESC"])
best_run = ordered[0].info.run_name
# solution ends
check_best_run(best_run, training.run_dir.parent)

# %% [markdown]
# ## 4 · The server is away
#
# A training runs for a day; its tracking server is restarted at noon. Below, the real tracker follows the first run's
# epochs to an address where nobody listens.
#
# **Predict.** What becomes of the training?

# %%
fate = predict(
    "The training", "goes on with a warning", choices=("stops", "waits", "goes on with a warning")
)  # solution

# %%
import re

from labkit.tracker_lessons import copied_run, follow
from scripts.tracker_mlflow import MLflow

lonely = copied_run(first_dir, training.folder / "outage" / "lonely")
for warning in follow(lonely, MLflow(str(lonely.parent), tracking_uri="http://127.0.0.1:9")):
    print(re.sub(r"\(.*\)", "(...)", warning))
reveal(fate, "goes on with a warning", "A day on a GPU costs more than a curve. Calls wait seconds, then are given up.")

# %% [markdown]
# Then the server is back. The run's folder remembers which epoch each tracker has had last, so all that was missed is
# sent:

# %%
from labkit.tracked import from_mlflow

assert follow(lonely, MLflow(str(lonely.parent))) == []
sent = from_mlflow(lonely)
print("epochs that MLflow holds now:", sorted(sent["train_loss"]))
assert disagreements(from_metrics(lonely), {"MLflow": sent}) == []

# %% [markdown]
# ## 5 · Keys
#
# The two trainings had a key in their environment. Is it in anything they wrote?

# %%
from labkit.tracked import files_with

files = [path for path in training.folder.rglob("*") if path.is_file()]
leaks = files_with(made_up_key, training.folder)
print(f"{len(files)} files, {len(leaks)} with the key")
assert not leaks

# %% [markdown]
# **Spot the bug.** A published workshop trains with W&B on SageMaker like this:
#
# ```python
# estimator = PyTorch(..., hyperparameters={"lr": 1e-4, "wandb_api_key": WANDB_API_KEY})
# ...
# wandb.init(project="monai", config=vars(args))  # in the training script
# ```
#
# `args` holds the hyper-parameters. A colleague adds `mlflow.log_params(vars(args))`.
#
# **Exercise.** Where can the key be read afterwards? Put the right ones of the four places into a set: `"MLflow's
# database"`, `"W&B's run file"`, `"SageMaker's description of the job"`, `"the environment of the process"`. The next
# cell does it for real, with the made-up key.

# %%
places = {"MLflow's database", "W&B's run file", "SageMaker's description of the job"}  # solution

# %%
from labkit.tracked import check_leaks
from labkit.tracker_lessons import pass_as_knob

leaked = pass_as_knob(made_up_key, training.folder / "published")
check_leaks(places, leaked)

# %% [markdown]
# The workshop's script never even used the key to log in. The bundle refuses what looks like one, before a file is
# written:

# %%
for knob in ({"api_key": made_up_key}, {"wandb_project": made_up_key}, {"tracking_uri": "https://me:pa55word@host"}):
    said = refusal([TRAIN, *TRACK], {**knob, "dataset_dir": str(dataset_dir)})
    assert "looks like a password or key" in said and made_up_key not in said
    print(f"{next(iter(knob))}: refused")
print(f"\nerror: {said}")

# %% [markdown]
# In the cloud the same holds: let the job's role fetch the key from AWS Secrets Manager when the job starts. A key
# that did leak is revoked, not deleted: copies are everywhere.
#
# ## What to take away
#
# - Trackers are overrides: `configs/track/mlflow.json` and `wandb.json` added to the command, both offline, no
#   account.
# - All numbers of `metrics.jsonl` were in all three stores; it is the original and they are copies.
# - `scripts.compare` needs the folders alone; MLflow sorts runs by a metric, also thousands of them.
# - A server that is away is a warning; what was missed is sent when it is back.
# - A key lives in the environment. As a hyper-parameter it was found in both trackers' files, and in the job's
#   description.
#
# ## Left behind
#
# `labs/work/07`: two runs, a database and W&B's offline files. Nothing was sent anywhere.
#
# ## Go further
#
# - Every detail and limit: [tracking.md](../bundle/docs/tracking.md)
# - [MLflow tracking](https://mlflow.org/docs/latest/ml/tracking/), [W&B offline
#   runs](https://docs.wandb.ai/ref/cli/wandb-sync/),
#   [TensorBoard](https://www.tensorflow.org/tensorboard/get_started)
# - Why hyper-parameters are no place for keys:
#   [DescribeTrainingJob](https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeTrainingJob.html)
#   returns them to whoever may call it
