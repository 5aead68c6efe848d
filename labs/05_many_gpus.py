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
# # 05 · Many GPUs
#
# **After this lab you can**
# - say what batch, how many steps and what learning rate a job of N processes has, before you start it;
# - deal cases out to processes so that training stays in step and no score is counted twice;
# - train with several processes, and show that they learn what one process learns with the whole batch;
# - reckon what a GPU must hold with DDP and with FSDP, and say when FSDP pays;
# - tell what a step waits for, and so whether more GPUs help and what they cost.
#
# **Before you start**: lab 02 (run the bundle). No GPU is needed: here two processes on a CPU do what two GPUs do,
# and talk through *gloo* instead of *NCCL*. Two questions to think about:
#
# <details><summary>Eight processes train one network. Why do they not end up with eight networks?</summary>
# They begin with the same weights and, in each step, average their gradients before the optimiser uses them. The same
# step from the same place leads to the same place.
# </details>
#
# <details><summary>A job takes 10 s a step on one GPU. Does it take 1.25 s on eight?</summary>
# Only if the GPU was what it waited for. If it waited for the disk, eight GPUs wait for the same disk.
# </details>

# %% tags=["parameters"]
DATA: str = "embedded"  # embedded (synthetic patients), a folder in a known layout, or s3://bucket/prefix
PROCESSES: int = 2  # processes of the training; each stands for a GPU, and takes a core
EPOCHS: int = 3  # passes over the training cases
PATCH: int = 32  # edge of the training crop in voxels, a multiple of 16

# %%
import json
from pathlib import Path

from labkit import batches
from labkit.checks import predict, reveal
from labkit.commands import quoted, run
from labkit.costs import bill
from labkit.data import datalist, dataset
from labkit.figures import show
from labkit.launch_plans import SPECS, plan_of, training_table
from labkit.many_gpus import loss_figure, state_figure, state_mb, step_figure
from labkit.project import ROOT, work
from labkit.tables import table
from scripts import scaling_published as published
from scripts.scaling import Step, scaling_efficiency

# %% [markdown]
# The plan: two short trainings (one process, then several) and one measurement, each a command whose start alone
# takes some 10 s, as MONAI is imported anew. Nothing is launched in a cloud, and nothing costs money.

# %%
table(
    [
        ["one process", f"{2 * PROCESSES} cases, batch of {PROCESSES}, {EPOCHS} epochs"],
        [f"{PROCESSES} processes", f"the same cases, batch of 1 each, {EPOCHS} epochs"],
        ["DDP and FSDP", "2 processes measure their memory and one exchange of gradients"],
        ["SMDDP and other machines", "what the launcher would ask of AWS; no account needed"],
    ],
    ["what runs", "with what"],
)

# %% [markdown]
# ## 1 · What a batch is, when there are many
#
# *Data parallel* training gives every process its own batch. The *global batch*, the cases that make one step of the
# optimiser, is batch size x processes. So a job on more GPUs is, if nothing else changes, another recipe: fewer
# steps.
#
# **Predict.** A published notebook trained on 479 cases for 10 epochs, on 8 GPUs with 32 cases each. How often did
# its optimiser change the weights, in the whole job?

# %%
job_steps = predict("Optimiser steps of 10 epochs of 479 cases on 8 GPUs with 32 cases each?", 150)  # solution: 20

# %% [markdown]
# **Exercise.** Each process gets its share of the cases, rounded up so that all have as many, and makes batches of
# it; the last batch may be smaller. Write the number of steps of an epoch.


# %%
def steps(cases, batch_size, processes):
    answer = ...
    # solution begins
    share = -(-cases // processes)
    answer = -(-share // batch_size)
    # solution ends
    return answer


# %%
from labkit.batches import check_steps

check_steps(steps)
reveal(job_steps, 10 * steps(479, 32, 8), "60 cases a GPU are two batches; 2 steps an epoch, 10 epochs.")

# %% [markdown]
# **What you saw.** On one GPU, with 16 cases a step, the same 10 epochs are 300 steps. The two jobs were compared by
# their seconds, and hardly learn the same. Why 32 a GPU, when the notebook asked for a batch of 32? **Spot the bug**
# in this line of AWS's sample; below it is run as it stands.
#
# ```python
# batch_size //= world_size // 8
# ```

# %%
batches.batch_table([4, 8, 16, 32])

# %% [markdown]
# A slip anybody can make: it divides by the number of machines, where the number of GPUs was meant, and 4 GPUs are no
# machine of 8.
#
# **Exercise.** Write what it was meant to say: the cases a GPU takes, so that the global batch is what was asked for.


# %%
def cases_a_gpu(batch_size, world_size):
    answer = ...
    # solution begins
    answer = batch_size // world_size
    # solution ends
    return answer


# %%
from labkit.batches import check_cases_a_gpu

check_cases_a_gpu(cases_a_gpu)

# %% [markdown]
# This bundle takes `batch_size` per process, and prints the rest: processes, global batch, steps an epoch, learning
# rate.
#
# A larger batch has a smoother gradient, which allows larger steps. SGD's rule is *linear*: N times the batch, N
# times the rate, after a warm-up ([Goyal et al. 2017](https://arxiv.org/abs/1706.02677)). For Adam and its kin it is
# the *square root* ([Malladi et al. 2022](https://arxiv.org/abs/2205.10287)), as they divide by the gradient's size
# already. The knob is `scale_learning_rate`; by default nothing is scaled.

# %%
table(
    [
        [rule, *(batches.scaled_rate(0.002, rule, count) for count in (1, 2, 8, 16))]
        for rule in ("none", "sqrt", "linear")
    ],
    ["rule", "1 process", "2", "8", "16"],
    "peak learning rate of train.json, 0.002, under the three rules",
)

# %% [markdown]
# ## 2 · Who gets which case
#
# In training all processes must make equally many steps, or one waits for ever for the others' gradients. So
# PyTorch's `DistributedSampler` *pads*: it deals some cases out twice. In training that does no harm. The same
# sampler was then used for validation, with 5 cases on 8 GPUs (lab 02).
#
# **Predict.** With 9 cases on 4 processes, how many are scored more than once?

# %%
repeated = predict("Of 9 validation cases on 4 processes, how many are scored more than once?", 1)  # solution: 3

# %%
shares = batches.dealt(9, 4)
reveal(
    repeated,
    len(batches.twice(shares)),
    f"4 x 3 places for 9 cases: cases {batches.twice(shares)} fill the 3 that are left.",
)
table([[rank, share] for rank, share in enumerate(shares)], ["process", "its validation cases"])

# %% [markdown]
# **What you saw.** With 5 cases on 8 GPUs every process scored a single volume. In that sample nothing gathered the
# scores: process 0 chose the "best" epoch by its one volume, and the log showed 8 figures under one name.
#
# **Exercise.** Deal validation cases out without padding: each exactly once, shares as even as they can be.


# %%
def deal(cases, rank, processes):
    answer = ...
    # solution begins
    answer = list(range(rank, cases, processes))
    # solution ends
    return answer


# %%
from labkit.batches import check_deal

check_deal(deal)

# %% [markdown]
# That is MONAI's `DistributedSampler(even_divisible=False)`, which the bundle validates with. Then all processes send
# their scores to each other, and average them after that.
#
# ## 3 · Train with several processes
#
# `torchrun` starts N processes of the same command and tells each its number, its *rank*. The config
# `multi_gpu_train.json`, laid over `train.json`, wraps the network in *DistributedDataParallel* (DDP) and adds the
# samplers. To compare, we take out all that is random: one crop from the middle of each case, and no shuffling.

# %%
from labkit.model import typed

dataset_dir, folder = dataset(DATA), work("05", fresh=True)
listed = datalist(dataset_dir, folder, training=2 * PROCESSES, validation=max(3, PROCESSES))
crop = {"_target_": "ResizeWithPadOrCropd", "keys": ["image", "label"], "spatial_size": [PATCH] * 3}
recipe = {
    "dataset_dir": str(dataset_dir), "datalist_file": str(listed), "run_name": "run",
    "random_transforms": [crop], "crops_per_case": 1, "patch_size": [PATCH] * 3,
    "network_def::channels": [8, 16, 32], "network_def::strides": [2, 2], "network_def::num_res_units": 1,
    "one_pass_ratio": 1000.0, "epochs": EPOCHS, "warmup_epochs": 0, "val_interval": 1, "image_interval": 0,
}  # fmt: skip
(folder / "plain.json").write_text(json.dumps(recipe, indent=1))
here = Path(typed(folder))

# %% [markdown]
# First one process with the whole batch:

# %%
one = run(
    f"python -m monai.bundle run --config_file \"['configs/train.json','{here.as_posix()}/plain.json']\" "
    f"--batch_size {PROCESSES} --train::dataloader::shuffle False --output_dir {quoted(here / 'one')} "
    f"--ckpt_dir {quoted(here / 'one' / 'models')}"
)
table([[line] for line in one.find(r"training: |epoch \d")], ["its log"])

# %% [markdown]
# **Predict.** Now as many processes as the batch has cases, each with one of them. After the last epoch, by how many
# percent does their loss differ from that of one process?

# %%
difference = predict("By how many % does the last epoch's loss differ?", 5, unit="%")  # solution: 0

# %% [markdown]
# A handler of this lab (`labkit/ranks.py`) comes along, and notes in every process which cases it saw. A config may
# name any class that Python can import: that is how you add code to a bundle without touching it.

# %%
note = {"_target_": "labs.labkit.ranks.NoteCases", "folder": str(folder / "notes")}
for part in ("train", "validate"):
    recipe[f"+{part}::handlers"] = [note | {"part": "training" if part == "train" else "validation"}]
(folder / "noted.json").write_text(json.dumps(recipe, indent=1))
several = run(
    f"torchrun --standalone --nproc_per_node={PROCESSES} -m monai.bundle run "
    f"--config_file \"['configs/train.json','configs/multi_gpu_train.json','{here.as_posix()}/noted.json']\" "
    f"--batch_size 1 --train::sampler::shuffle False --output_dir {quoted(here / 'several')} "
    f"--ckpt_dir {quoted(here / 'several' / 'models')}",
    env={"PYTHONPATH": ".."},
)
table([[line] for line in several.find(r"backend|training: |epoch \d")], ["the log, which rank 0 alone writes"])

# %% tags=["figure"]
records = {
    name: [json.loads(line) for line in (folder / name / "run" / "metrics.jsonl").read_text().splitlines()]
    for name in ("one", "several")
}
losses = {name: [record["train_loss"] for record in rows] for name, rows in records.items()}
off = 100 * abs(losses["several"][-1] / losses["one"][-1] - 1)
assert off < 0.1, "several processes learnt something else than one"
show(
    loss_figure(losses["one"], losses["several"], PROCESSES),
    f"two loss curves that differ by {off:.1g} % in the last epoch",
)
reveal(difference, round(off, 3), "the processes' gradients, averaged, are the whole batch's, but for rounding.")

# %% [markdown]
# **What you saw.** Dice needs more care than a mean: the Dice of a batch is no mean of its halves' Dice. The bundle
# sums overlap and sizes over all processes before it divides, so this holds for it as well. What was random would
# differ: every process draws its own augmentation.
#
# Who saw what, by the handler's notes:

# %%
seen = [[entry for entry in process if entry["epoch"] == 1] for process in batches.notes(folder / "notes", "training")]
validated = [batches.own_cases(folder / "notes", rank) for rank in range(PROCESSES)]
assert not batches.twice(validated), "a case was scored twice"
table(
    [
        [rank, ", ".join(entry["case"] for entry in process), ", ".join(validated[rank])]
        for rank, process in enumerate(seen)
    ],
    ["rank", "trained with, in its steps of epoch 1", "validated"],
)

# %% [markdown]
# Had rank 0 judged by its own cases, as in the sample above, it would have seen other scores:

# %%
dice = batches.scores(folder / "notes")
mean = {epoch: sum(cases.values()) / len(cases) for epoch, cases in dice.items()}
assert abs(mean[EPOCHS] - records["several"][-1]["val_mean_dice"]) < 1e-4, "the log's score is not that of all cases"
rows = [
    [epoch, mean[epoch], *(sum(cases[name] for name in own) / len(own) for own in validated)]
    for epoch, cases in sorted(dice.items())
]
by_all, by_own = batches.best_epochs(dice, validated[0])
table(
    rows, ["epoch", "Dice of all cases", *(f"of rank {rank}'s" for rank in range(PROCESSES))],
    f"best epoch by all cases: {by_all}; by rank 0's own: {by_own}",
)  # fmt: skip

# %% [markdown]
# **What you saw.** One epoch, and as many Dice as there are processes; only the first column, which the log and
# `model.pt` go by, is that of the model. (All are low: the training lasted seconds.)
#
# ## 4 · Average what you log
#
# Another published training added up the *mean* loss of each batch, and divided by the number of *samples*. Its log
# said 0.5976. Its batches had 2, 2 and 1 samples, with a mean loss of 0.996 each.

# %%
batches.logged_loss([0.996, 0.996, 0.996], [2, 2, 1])

# %% [markdown]
# **Exercise: spot the bug.** Write the mean loss of all samples of an epoch, given each batch's mean and size.


# %%
def mean_loss(batch_means, batch_sizes):
    answer = ...
    # solution begins
    total = sum(mean * size for mean, size in zip(batch_means, batch_sizes, strict=True))
    answer = total / sum(batch_sizes)
    # solution ends
    return answer


# %%
from labkit.batches import check_mean_loss

check_mean_loss(mean_loss)

# %% [markdown]
# ## 5 · What a GPU must hold: DDP and FSDP
#
# With DDP every process holds all weights, gradients and the optimiser's state: in float32 with AdamW 4 + 4 + 8 bytes
# a parameter. *FSDP* cuts all three into N parts, and gathers the weights of one block at a time when it is needed.
# In this bundle each process also keeps one whole copy of the weights, for validation.
#
# **Predict.** The recipe's UNet has 1.98 million parameters: 32 MB with DDP. How many MB has each of two processes
# with FSDP, the whole copy included?

# %%
sharded = predict("MB a process, UNet of 1.98 M parameters, FSDP on 2 processes?", 16, unit="MB")  # solution: 23.8

# %% [markdown]
# **Exercise.** Write it for any network and any number of processes.


# %%
def sharded_mb(parameters, processes):
    answer = ...
    # solution begins
    answer = parameters * (16 / processes + 4) / 1e6
    # solution ends
    return answer


# %%
from labkit.many_gpus import check_state

check_state(sharded_mb)

# %% [markdown]
# Now two processes count the tensors that they hold, after a step of AdamW with either:

# %%
(folder / "shares").mkdir(exist_ok=True)
run(f"torchrun --standalone --nproc_per_node=2 -m labs.labkit.rank_memory {quoted(folder / 'shares')}", cwd=ROOT)
shares = [json.loads((folder / "shares" / f"{rank}.json").read_text()) for rank in range(2)]
kinds = ["weights", "gradients", "moments", "whole copy"]
held = {(side, rank): sum(share[side].values()) for rank, share in enumerate(shares) for side in ("DDP", "FSDP")}
for (side, rank), found in held.items():
    assert abs(found / state_mb(shares[rank]["parameters"], 2, side == "FSDP") - 1) < 0.02, (side, rank)
table(
    [[side, rank, *(shares[rank][side].get(kind, 0.0) for kind in kinds), held[side, rank]] for side, rank in held],
    ["", "rank", *(f"{kind}, MB" for kind in kinds), "sum"],
)

# %%
reveal(sharded, held["FSDP", 0], "half of 32 MB, and a copy of 8 MB; the activations, hundreds of MB, are not cut.")

# %% tags=["figure"]
sizes = {"UNet, 2.0 M": 1.98e6, "SwinUNETR, 62 M": 62.2e6, "a network of 1,000 M": 1e9}
show(
    state_figure(sizes, [2, 4, 8, 16, 64]),
    "memory a GPU over the number of GPUs, three networks: flat with DDP, falling with FSDP; the UNet needs below 0.1 "
    "GB either way, a network of a thousand million parameters 16 GB with DDP, about 4 GB with FSDP on many GPUs",
)

# %% [markdown]
# **What you saw.** FSDP is for networks whose state alone fills a GPU. For 3-D networks of this size activations fill
# it: smaller crops, `precision bf16` and gradient checkpointing help, FSDP does not. Beware of `state_dict()` of a
# sharded network inside `if rank == 0`: it gathers, and waits for processes that never come. A published training
# does so; here it is `configs/fsdp_train.json`, where every process gathers and rank 0 writes.
#
# ## 6 · What a step waits for
#
# A step waits for its data, computes, and exchanges gradients: each process sends and receives about twice their size
# (a *ring all-reduce*), however many processes there are. The exchange runs beneath the backward pass. The two
# processes above also measured both:

# %%
compute, exchange = (max(share[key] for share in shares) for key in ("compute_s", "exchange_s"))
step = Step(data_s=0.0, compute_s=compute, exchange_s=exchange)
table(
    [
        ["gradients of the UNet", f"{4 * shares[0]['parameters'] / 1e6:.1f} MB"],
        ["forward and backward pass of a 32³ crop", f"{1000 * compute:.0f} ms"],
        ["all-reduce of the gradients, gloo, one machine", f"{1000 * exchange:.0f} ms"],
        ["of it, not hidden by the backward pass", f"{1000 * step.exposed_s:.0f} ms"],
        ["a step is bound by", step.bound_by],
    ],
    ["two processes on this machine", ""],
)

# %% [markdown]
# Now the published runs of this UNet with residual units (4.8 million parameters,
# `configs/network/unet_residual.json`): 31,000 s an epoch on 1 V100, 2,400 s on 8, 1,300 s on 16 ([AWS, part
# 2](https://aws.amazon.com/blogs/industries/scalable-medical-computer-vision-model-training-with-amazon-sagemaker-part-2/)).
# `scripts/scaling.py` predicts the last two from the first and from facts about the machines (`python -m
# scripts.scaling` lists each with its source, guesses marked as such).
#
# **Predict.** On those 8 GPUs, what percentage of a step did the GPUs compute?

# %%
busy = predict("Percentage of a step in which the 8 published V100 computed?", 60, unit="%")  # solution: 2

# %% tags=["figure"]
predicted = [published.predict(gpus) for gpus in (8, 16)]
show(
    step_figure(predicted),
    "left: seconds of data, computing and exchange of a step on 8 and 16 GPUs, data by far the longest; right: epochs "
    "on 1, 8 and 16 GPUs, predicted within a third of the published ones",
)

# %%
share = 100 * predicted[0].step.compute_s / predicted[0].step.seconds
assert all(row.step.bound_by == "data" for row in predicted)
assert all(abs(row.error) < 0.3 for row in predicted)
reveal(busy, share, "29 MB a crop came from storage, and the GPUs waited. The figure is the model's, not measured.")

# %% [markdown]
# **What you saw.** The model is within a third of both runs, and says what would *not* have helped: a faster network
# between the machines. The step from 1 to 8 GPUs, 13 times faster, is no figure of scaling: the first run decoded
# compressed files, which the others did not. From 8 to 16 it is one:

# %%
efficiency = scaling_efficiency(published.PUBLISHED_EPOCHS_S[8], 8, published.PUBLISHED_EPOCHS_S[16], 16)
smaller = published.changed(published.FACTS, [("sample_bytes", "6.6e6")])
with_store = published.predict(8, smaller)
assert with_store.predicted_s < predicted[0].predicted_s / 2
table(
    [
        ["efficiency from 8 to 16 GPUs, published", f"{efficiency:.0%}"],
        ["epoch on 8 GPUs, 29 MB a crop, predicted", f"{predicted[0].predicted_s:,.0f} s"],
        ["the same from this bundle's store, 6.6 MB a crop", f"{with_store.predicted_s:,.0f} s"],
        ["which then is bound by", with_store.step.bound_by],
    ],
    ["", ""],
)

# %% [markdown]
# Smaller samples would have done more than twice the GPUs. Labs 03 and 04 are about them.
#
# ## 7 · SMDDP, NCCL, gloo: only the carrier changes
#
# The *backend* carries tensors between processes. `backend auto` takes AWS's SMDDP where its library imports, the
# machine is an `ml.p4d.24xlarge` or `ml.p4de.24xlarge`, and mpirun started the job; else NCCL on GPUs; else gloo. The
# recipe stays as it is. What the launcher would ask of AWS for its shipped specs (nothing is sent):

# %%
training_table(["many_gpus.yaml", "smddp.yaml", "fsdp.yaml"])

# %% [markdown]
# **What you saw.** The same `train.json`, with an override for many processes; SMDDP needs its own image, launcher
# and machine. Its last release is for PyTorch 2.4, so the launcher remarks:

# %%
[note for note in plan_of(SPECS / "smddp.yaml").notes if "SMDDP" in note][0]

# %% [markdown]
# ## What to take away
#
# - Global batch = batch size x processes, steps = share of a process over its batch. Fix the global batch, or scale
#   the rate.
# - Training pads, validation must not: each case once, scores gathered before they are averaged. Weigh batches by
#   size.
# - Two processes learnt what one learns with twice the batch, to the rounding: averaged gradients are the batch's
#   gradient.
# - DDP holds 16 bytes a parameter, FSDP 16/N + 4 here. It pays when the state fills the GPU, not for a UNet of 2
#   million.
# - A step is as long as what it waits for. By the model, the published GPUs computed for about 2 % of it; smaller
#   samples help, not GPUs.
#
# ## Cloud cost
#
# Ten epochs of each published run at today's prices. The machine with 8 GPUs costs 7.4 times as much an hour; it is
# cheaper in all, as the job got 13 times shorter, because no decoding was left. From 8 to 16 GPUs the bill grows by
# what efficiency lacks.

# %%
ten_epochs = {gpus: 10 * seconds / 3600 for gpus, seconds in published.PUBLISHED_EPOCHS_S.items()}
bills = {
    "1 V100": bill([("ml.p3.2xlarge", 1, ten_epochs[1])]),
    "8 V100": bill([("ml.p3.16xlarge", 1, ten_epochs[8])]),
    "16 V100": bill([("ml.p3.16xlarge", 2, ten_epochs[16])]),
}
table([[name, *one.rows[0]] for name, one in bills.items()], ["", *bills["1 V100"].columns], bills["1 V100"].caption)

# %% [markdown]
# ## Left behind
#
# `labs/work/05`: two runs with their checkpoints, and a few notes. Lab 11 removes it with
# `EVERYTHING = True`; so does deleting the folder.
# Nothing in any account.
#
# ## Go further
#
# - `bundle/docs/distributed.md`: launchers, Slurm, backends, FSDP; `bundle/docs/scaling.md`: the model and its doubts
# - `python benchmarks/scaling.py` measures two processes with and without averaging; `benchmarks/memory.py` the peak
#   of FSDP
# - [PyTorch DDP: how it overlaps](https://arxiv.org/abs/2006.15704), [FSDP](https://arxiv.org/abs/2304.11277),
#   [SMDDP's pages](https://docs.aws.amazon.com/sagemaker/latest/dg/data-parallel.html)
