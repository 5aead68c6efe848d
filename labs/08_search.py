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
# # 08 · Search hyper-parameters
#
# **After this lab you can**
# - write a search file, and say how many trials and epochs it costs before you start it;
# - run a search on this machine, read its table and its figure, and train on with the winner;
# - say why the winner's score is too good, and what to do about it;
# - choose between one trial a GPU and all GPUs for one trial, by arithmetic;
# - read what a tuning job on SageMaker would be, and what it would cost at most.
#
# **Before you start**: lab 02 (run the bundle); lab 05 tells what several processes do. Two questions to think about:
#
# <details><summary>You have 8 GPUs and 32 settings to try. One setting a GPU, or all GPUs for one setting?</summary>
# One a GPU: nothing is exchanged, and each process starts once for a whole trial. All GPUs for one trial pay where
# there are fewer trials than GPUs, or where one GPU cannot hold the batch.
# </details>
#
# <details><summary>The best of 32 trials scored 0.84 on the validation cases. What will new patients say?</summary>
# Less. The best of many noisy scores is partly the luckiest one. The test cases, looked at once, tell.
# </details>

# %% tags=["parameters"]
DATA: str = "embedded"  # embedded (synthetic patients), a folder in a known layout, or s3://bucket/prefix
EPOCHS: int = 4  # of a trial that is not stopped
CPUS: int = 2  # processors that the search may use; each runs one trial at a time

# %%
import json
from pathlib import Path

from labkit import searches
from labkit.checks import predict, reveal
from labkit.commands import quoted, run
from labkit.data import datalist, dataset
from labkit.figures import show
from labkit.launch_plans import SPECS, cost, plan_of, tuning_table
from labkit.model import typed
from labkit.project import BUNDLE, work
from labkit.search_figures import asha_figure, learning, learning_figure, picture_figure
from labkit.tables import table
from scripts.tune.space import draw, read_search

# %% [markdown]
# The plan: arithmetic first, then one search of a few short trainings with Ray Tune on this machine (most of its time
# goes into starting Pythons), then the request of a tuning job, which is not sent. Nothing here costs money.
#
# ## 1 · A search file
#
# `configs/search/NAME.json` names knobs of the recipe, and the values to try. A `grid` tries all combinations. This
# is the published grid of [DistMIS](https://arxiv.org/abs/2110.15884):

# %%
published = read_search(BUNDLE / "configs" / "search" / "distmis_grid.json")
table([[knob, entry["grid"]] for knob, entry in published.space.items()], ["knob", "values"])

# %% [markdown]
# **Predict.** How many trainings is that?

# %%
grid_size = predict("Trials in the published grid?", 10)  # solution: 32

# %%
reveal(grid_size, len(draw(published)), "4 x 2 x 2 x 2: a grid multiplies.")

# %% [markdown]
# Now our own: two learning rates, far apart, and two batch sizes, over a recipe cut down to seconds. `configs` and
# `overrides` change what all trials share; anything in train.json may stand in `space`.

# %%
dataset_dir, folder = dataset(DATA), work("08", fresh=True)
small = {
    "dataset_dir": str(dataset_dir), "datalist_file": str(datalist(dataset_dir, folder, training=4, validation=2)),
    "patch_size": [32, 32, 32], "crops_per_case": 1, "one_pass_ratio": 1000.0, "warmup_epochs": 0,
    "image_interval": 0, "val_interval": 1,
}  # fmt: skip
network = {"network_def::channels": [8, 16], "network_def::strides": [2], "network_def::num_res_units": 1}
(folder / "small.json").write_text(json.dumps(small | network, indent=1))
search = {
    "space": {"learning_rate": {"grid": [0.01, 0.0001]}, "batch_size": {"grid": [1, 2]}}, "epochs": EPOCHS,
    "configs": [str(folder / "small.json")], "scheduler": {"name": "asha", "grace_period": 1, "reduction_factor": 2},
}  # fmt: skip
_ = (folder / "small_grid.json").write_text(json.dumps(search, indent=1))

# %% [markdown]
# **Exercise.** How many trials will this search have?

# %%
trials = 4  # solution

# %%
from labkit.searches import check_trials

check_trials(trials, folder / "small_grid.json")

# %% [markdown]
# **Exercise: spot the bug.** A colleague wants a random search over learning rates from 0.00001 to 0.1, and finds
# that of 40 trials hardly one is below 0.001. This is the entry, and what it draws. (Kinds of entries are `grid`,
# `choice`, `uniform`, `loguniform` and `randint`: `bundle/docs/search.md`.)

# %%
learning_rate = {"uniform": [1e-5, 1e-1]}
drawn = searches.drawn_rates(learning_rate, count=400)
table(
    [[f"1e{decade} to 1e{decade + 1}", f"{share:.0%}"] for decade, share in searches.shares_by_decade(drawn).items()],
    ["learning rate", "share of the trials"],
)

# %%
learning_rate = {"loguniform": [1e-5, 1e-1]}  # solution

# %%
from labkit.searches import check_rate_entry

check_rate_entry(learning_rate)

# %% [markdown]
# ## 2 · Stop what does not learn: ASHA
#
# Most trials show early that they are poor. ASHA ([Li et al. 2020](https://arxiv.org/abs/1810.05934)) looks after a
# *grace period*, and lets the best of every few go on; it looks again after that period times the *reduction factor*,
# and so on.
#
# **Predict.** The shipped search `lr_batch_loss.json` has 12 trials of 20 epochs: 240 epochs without ASHA. Its grace
# period is 4, its factor 3. If at each look exactly one of three goes on, how many epochs are trained in all?

# %%
in_all = predict("Epochs of 12 trials with ASHA, grace period 4, factor 3, at most 20 epochs?", 120)  # solution: 88

# %%
shipped = read_search(BUNDLE / "configs" / "search" / "lr_batch_loss.json")
settings = {**shipped.scheduler, "epochs": shipped.epochs}
halved = searches.halving_epochs(shipped.num_samples, **settings)
reveal(in_all, halved, "12 trials x 4 epochs, 4 of them x 8 more up to 12, 1 of them x 8 more up to 20: 48 + 32 + 8.")

# %% [markdown]
# The A is for *asynchronous*: ASHA never waits for trials that have not come so far. A trial is compared with those
# that were there before it, and the first one meets nobody. So what it saves depends on the order:

# %% tags=["figure"]
count = shipped.num_samples
orders = {
    "best first": [-trial for trial in range(count)],
    "mixed": [(7 * trial) % count for trial in range(count)],
    "worst first": list(range(count)),
}
ends = {name: searches.asha_stops(scores, **settings) for name, scores in orders.items()}
assert sum(ends["best first"]) < sum(ends["mixed"]) < sum(ends["worst first"]) == count * shipped.epochs
show(
    asha_figure(ends, searches.rungs(**settings)),
    "epochs of 12 trials in three orders of arrival: best first few go far, worst first none is stopped",
)

# %% [markdown]
# **What you saw.** The prediction holds in between; if every trial is better than those before it, nothing is
# stopped. A random search draws its trials in no order, which is what ASHA wants. A grid has one: put the likely
# values first.
#
# ## 3 · Run it
#
# [Ray Tune](https://docs.ray.io/en/latest/tune/index.html) hands out processors (or GPUs) and asks ASHA. Every trial
# is an ordinary training of train.json with an override file. With our grace period of 1 and factor of 2, and two
# trials at a time:
#
# **Predict.** How many epochs will the four trials train in all? Without ASHA it is 4 for each.

# %%
trained = predict("Epochs of the four trials in all?", 10)  # solution

# %%
here = Path(typed(folder))
found = run(
    f"python -m scripts.tune --search {quoted(here / 'small_grid.json')} --output_dir {quoted(here / 'search')} "
    f"--num_cpus {CPUS}"
)
rows = searches.results(folder / "search")
assert {row["status"] for row in rows} <= {"finished", "stopped"}, "a trial failed"
table(
    [[row[name] for name in ("trial", "status", "learning_rate", "batch_size", "epochs")]
     + [float(row["best_val_mean_dice"]), float(row["seconds"])] for row in rows],
    ["trial", "status", "learning_rate", "batch_size", "epochs", "best val_mean_dice", "s"], "results.csv, best first",
)  # fmt: skip

# %%
epochs_done = sum(int(row["epochs"]) for row in rows)
fewest = EPOCHS + 3  # the first trial goes to its end, and the others stop at the first look
assert fewest <= epochs_done <= 4 * EPOCHS
reveal(trained, epochs_done, f"it may be {fewest} to {4 * EPOCHS}, by the order in which the trials came to the looks.")

# %% [markdown]
# ## 4 · Read it
#
# The curves of the four, and the picture that the search made: a line a trial, from its knobs to its score, dashed
# where ASHA stopped it. With hundreds of trials, look where the light lines meet.

# %% tags=["figure"]
labels = {row["trial"]: f"rate {row['learning_rate']}, batch {row['batch_size']}, {row['status']}" for row in rows}
losses = learning(folder / "search", "train_loss")
show(
    learning_figure(losses, labels, "training loss"),
    "training loss of four trials; stopped ones end after fewer epochs",
)

# %% tags=["figure"]
show(
    picture_figure(folder / "search" / "results.png"),
    "parallel coordinates: four lines from learning rate over batch size to validation Dice",
)

# %% [markdown]
# The winner lies in `best.json`, as an override: what makes it differ from train.json, and nothing else. Any command
# takes it.

# %%
best = json.loads((folder / "search" / "best.json").read_text())
assert best["learning_rate"] == float(rows[0]["learning_rate"]) and best["batch_size"] == int(rows[0]["batch_size"])
table(
    [[knob, value] for knob, value in best.items() if knob not in ("_desc_", "dataset_dir", "datalist_file")],
    ["override", "value"],
)

# %%
found.find("monai.bundle run")

# %% [markdown]
# **What you saw.** This command trains with the winner. Add `--epochs` and a datalist of all cases: as printed it
# repeats the trial's epochs on its few cases.
#
# ## 5 · What the winner's score is worth
#
# **Predict.** 32 settings are all equally good: a Dice of 0.80, give or take 0.02 by chance (one standard deviation).
# By how much is the winner's announced Dice above 0.80, on average?

# %%
gain = predict("By how much is the Dice of the best of 32 equal trials above 0.80?", 0.01)  # solution: 0.042

# %%
lucky = searches.best_of_noise(trials=32, spread=0.02, true_score=0.80)
assert 0.83 < lucky < 0.85
reveal(gain, round(lucky - 0.80, 3), "the luckiest of 32 draws lies about two standard deviations above the mean.")

# %% [markdown]
# **What you saw.** A gain of 0.04 by nothing. A published sample's text promises 0.82 before and 0.85 after its
# search; its repository holds no run behind either figure, and no test. Report the winner's score on the *test*
# cases, which no trial has seen: `evaluate.json` does that, once.
#
# ## 6 · One trial a GPU, or all GPUs for one trial
#
# *Experiment parallel*: a trial on each device. *Data parallel*: each trial on all devices, one after the other. Our
# trials tell what a start costs (imports, data, report), and what training does:

# %%
spent = [float(row["seconds"]) for row in rows]
training = [sum(learning(folder / "search", "seconds")[row["trial"]]) for row in rows]
ours = searches.Trials(len(rows), start_s=(sum(spent) - sum(training)) / len(rows), train_s=sum(training) / len(rows))
experiment, data = ours.experiment_parallel_s(CPUS), ours.data_parallel_s(CPUS)
assert ours.start_s > 0, "a trial that trains before it starts"
table(
    [
        ["a trial's start and end", f"{ours.start_s:.1f} s"],
        ["a trial's training", f"{ours.train_s:.1f} s"],
        ["four trials, experiment parallel", f"{experiment:.0f} s"],
        ["four trials, data parallel, if its exchange were free", f"{data:.0f} s"],
    ],
    ["our trials, by arithmetic", f"on {CPUS} processors"],
)

# %% [markdown]
# Is that arithmetic right? `benchmarks/search_parallelism.py` ran the same 8 trials both ways on 2 cores. From its
# core seconds (`bundle/docs/search.md`) the formula says, and the clock said:

# %%
alone = searches.Trials(8, start_s=77 / 8, train_s=42 / 8)
shared = searches.Trials(8, start_s=200 / 16, train_s=42 / 8)
predicted = {"experiment": alone.experiment_parallel_s(2), "data": shared.data_parallel_s(2, efficiency=42 / 58)}
table(
    [
        ["experiment parallel, 2 trials at a time", f"{predicted['experiment']:.0f} s", "81 s"],
        ["data parallel, 2 processes a trial", f"{predicted['data']:.0f} s", "147 s"],
        ["ratio", f"{predicted['data'] / predicted['experiment']:.1f}", f"{147 / 81:.1f}"],
    ],
    ["8 trials on 2 cores", "formula", "measured"],
    "what the formula leaves out: Ray's own start, and cores that wait for the last trial",
)

# %% [markdown]
# DistMIS reports a speed-up "from x12 to x14 using 32 GPUs" for its 32 trials on V100: 12, as we read it, with all
# GPUs for one trial, and 14 with a trial a GPU.
#
# **Predict.** On 32 GPUs, what percentage of a data-parallel step is the exchange of gradients, by the model of lab
# 05?

# %%
talk = predict("Percentage of a step on 32 GPUs spent with exchanging gradients?", 30, unit="%")  # solution: 2.9

# %%
step = searches.distmis_step(32)
part = 100 * step.exchange_s / step.seconds
assert step.exposed_s == 0
reveal(
    talk,
    part,
    "a network of 0.1 million parameters has half a megabyte of gradients; it hides behind the backward pass.",
)

# %%
serial = searches.serial_share(12, 32)
table(
    [
        ["all 32 GPUs for one trial, x 12", f"{12 / 32:.1%}", f"{serial:.1%} of a trial that is not divided would do"],
        ["a GPU for each trial, x 14", f"{14 / 32:.1%}", f"so the slowest trial took {32 / 14:.1f} times the average"],
    ],
    ["as published", "efficiency", "what would explain it (a fit, no proof)"],
)

# %% [markdown]
# **What you saw.** Not the network: whatever each process does by itself (its start, reading, a validation that is
# not shared out), and, with a trial a GPU, that all wait for the last. The fits use one number each, so they explain
# but do not prove. One more thing was not equal: with 32 GPUs a data-parallel step had 64 cases, and the rate was
# multiplied by 32, up to 0.16; those trials answer another question.
#
# **Rule.** At least as many trials as devices: experiment parallel. `--workers_per_trial N` is for the last few, or
# for batches that one device cannot hold. Both at once: 8 GPUs and `--workers_per_trial 2` run four trials at a time.
#
# ## 7 · The same search on SageMaker
#
# *Automatic Model Tuning* runs each trial as a training job on a machine of its own. The launcher reads the very same
# search file. **Predict.** 12 trials, three at a time, each stopped after 4 hours at the latest, on ml.g5.2xlarge at
# about $1.5 an hour: what is the highest bill?

# %%
ceiling = predict("The highest bill of the tuning job?", 18, unit="USD")  # solution: 72.7

# %%
plan = plan_of(SPECS / "tune.yaml", jobs=["tune"])
tuning_table(plan)

# %%
bill = cost(plan)
reveal(ceiling, round(bill.high, 2), "trials x hours x price; three at a time make it sooner over, not cheaper.")
table(
    [[line.what, f"{line.low:,.2f} to {line.high:,.2f}", line.note] for line in bill.lines],
    ["what", "USD", "rests on"],
    f"prices: {bill.source[:10]}",
)

# %% [markdown]
# **What you saw.** `loguniform` became a logarithmic range, `choice` a list. Bayesian search learns from finished
# trials, so the more run at a time, the less each knows; 12 by 3 is four rounds, 16 hours at most. `train.spot=true`
# takes spare machines, by AWS's word for up to 90 % less; the launcher reckons with 60 to 70 %. Every trial must then
# be able to resume. With an account: `python -m sm_launch apply sm_launch/specs/tune.yaml`, then `python -m sm_launch
# results RUN --best best.json` writes the same kind of override file. *This part needs an AWS account; untested on
# AWS.*
#
# ## What to take away
#
# - A grid multiplies, rates go by their logarithm; ASHA's epochs follow from grace period and factor, and from the
#   order.
# - One command runs the search; `results.csv` is the table, `results.png` the figure, `best.json` the winner to train
#   with.
# - The best of many scores is partly luck: report it on test cases that no trial has seen.
# - Starts and waiting decide, not the exchange of small networks: a trial a device while there are enough trials.
# - A tuning job is the same search file; its ceiling is trials x hours x price, whatever runs at a time.
#
# ## Left behind
#
# `labs/work/08`: the search with its four runs and their checkpoints. Lab 11 removes it with `EVERYTHING = True`; so
# does deleting the folder. Ray has stopped; nothing runs on, and there is nothing in any account.
#
# ## Go further
#
# - `bundle/docs/search.md`: all entries of a search file, Ray clusters of several machines
# - `python benchmarks/search_parallelism.py`: the measurement of section 6, a few minutes
# - [ASHA](https://arxiv.org/abs/1810.05934), [DistMIS](https://arxiv.org/abs/2110.15884), [Automatic Model
#   Tuning](https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning.html)
