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
# # 04 · Preprocess at scale
#
# **After this lab you can**
# - prepare a data set on several machines, and prove that their parts make the same whole as one run;
# - say how long N machines take and which of them wait, and deal the work without losing or doubling a case;
# - find patients that are both trained and validated on, and see why copies put all of them there;
# - say what may be stored before training, and what must stay random;
# - give the price of 20 machines for 27 minutes, and plan such a job for SageMaker without an account.
#
# **Before you start** you should know from lab 03 what the store is. No GPU, no account. Two questions you should be
# able to answer:
#
# <details><summary>Which transforms are deterministic?</summary>
# Those that give the same result for the same file every time: read, crop to the brain, turn, resample, normalise.
# </details>
#
# <details><summary>What is a validation set for?</summary>
# To estimate how the model does on patients that it was not trained on. It can do so only if it was not trained on
# them.
# </details>

# %% tags=["parameters"]
DATA: str = "embedded"  # embedded (synthetic patients), a folder in a known layout, or s3://bucket/prefix
MACHINES: int = 2  # that share the cases; here each is a process with a folder of its own
EPOCHS: int = 6  # crops taken of one case where augmentation is compared
START_MINUTES: float = 4.0  # until a rented machine begins to work; an assumption, measure yours

# %%
import torch
from labkit.checks import predict, reveal
from labkit.data import dataset
from labkit.figures import show
from labkit.project import work
from labkit.reading import SPACING_MM, items_of
from labkit.tables import table

torch.set_num_threads(1)
dataset_dir, scratch = dataset(DATA), work("04", fresh=True)
cases = items_of(dataset_dir)
plan = [["shared among machines", f"{len(cases)} cases, {MACHINES} machines, then one run to compare with"]]
plan += [["measured at BraTS's size", "1 case of 240 x 240 x 155 voxels"], ["computed", "48,400 cases on 20 machines"]]
table([*plan, ["written to", scratch]], ["part", "what"], "The plan")

# %% [markdown]
# ## 1 · Shards: two machines, one whole
#
# Preparing a case needs that case alone. So machines can share the cases: machine I of N takes every N-th case from
# the I-th on, and nobody has to talk to anybody. The bundle's command for it is `scripts.store`, with `--shard I/N`.
#
# **Predict.** Each machine fills a folder of its own; then the folders are copied together. How many files will
# differ from those of a single run on one machine?

# %%
differ_guess = predict("Files that differ from a single run's?", 0, unit="files")  # solution

# %%
import shlex

from labkit.commands import quoted, run

flags = f"--dataset_dir {quoted(dataset_dir)} --spacing {' '.join(map(str, SPACING_MM))}"
for machine in range(MACHINES):
    target = quoted(scratch / f"machine{machine}")
    run(f"python -m scripts.store {flags} --store_dir {target} --shard {machine}/{MACHINES}")

# The same without shards, in this process.
from scripts import store

status = store.main([*shlex.split(flags), "--store_dir", str(scratch / "alone")])

# %%
from labkit.shards import contents, union

parts = [contents(scratch / f"machine{machine}") for machine in range(MACHINES)]
whole, alone = union(parts), contents(scratch / "alone")
rows = [[f"machine {number}", sum(name.endswith("case.json") for name in part)] for number, part in enumerate(parts)]
rows += [["together", sum(name.endswith("case.json") for name in whole)]]
table([*rows, ["alone", sum(name.endswith("case.json") for name in alone)]], ["folder", "cases"])

# %%
differing = [name for name in whole.keys() | alone.keys() if whole.get(name) != alone.get(name)]
assert status == 0 and not differing, f"{differing[:3]} differ"
reveal(
    differ_guess,
    len(differing),
    f"All {len(alone)} files are equal, byte by byte: a case depends on its file and on the recipe, not on the "
    "machine, the day or its neighbours. That is what makes sharing safe.",
)

# %% [markdown]
# **What you saw.** Only deterministic work can be compared like this. Had a random crop been stored, no two runs
# would agree, and no test could tell a mistake from chance.
#
# A shard that was interrupted is started again with the same command: cases that are whole are kept. `python -m
# scripts.store --store_dir DIR --verify` compares every file with its checksum afterwards.
#
# ## 2 · N machines, and who waits
#
# **Predict.** Four machines share five cases of 10 s each. How long does the job take, as a multiple of one case?

# %%
longest_guess = predict(
    "5 cases on 4 machines: the job takes how many times one case?", 2, choices=(1, 1.25, 2, 5)
)  # solution

# %% tags=["figure"]
from labkit.scale_plots import timeline
from labkit.shards import Fleet

few, many = Fleet(machines=4, cores=1, case_s=10), Fleet(machines=5, cores=1, case_s=10)
show(
    timeline([few, many], cases=5),
    "Two timelines of five cases: on four machines one works 20 s and three wait 10 s; on five machines nobody waits.",
)

# %%
reveal(
    longest_guess,
    int(few.finished_s(5) / few.case_s),
    "One machine gets two cases and three wait for it: 38 % of what is paid for is waiting. A fifth machine halves the "
    "time and costs less.",
)
assert few.billed_hours(5) > many.billed_hours(5)

# %% [markdown]
# **Exercise.** Write the number of cases that the busiest machine gets.


# %%
def slowest(cases: int, machines: int) -> int:
    """Cases of the machine that has most of them, when ``cases`` are dealt as evenly as possible."""
    # solution begins
    return -(-cases // machines)
    # solution ends


# %%
from labkit.scale_checks import check_slowest

check_slowest(slowest)

# %% [markdown]
# ## 3 · Spot the bug: how the published notebook deals its cases
#
# It cuts the list of cases into one piece a worker, and what is left over into one more. Shortened:
#
# ```python
# size = len(cases) // workers
# reminder = len(cases) % workers
# splits = [cases[i * size:(i + 1) * size] for i in range(workers)]
# splits.append(cases[-1 * reminder:])
# ```
#
# It ran well on the authors' machine, where something was left over. Read it with 484 cases and 2 workers.
#
# **Predict.** How many cases are dealt out in all?

# %%
dealt_guess = predict("484 cases, 2 workers: cases dealt out in all?", 968, unit="cases")  # solution

# %%
from labkit.shards import published_deal

numbers = list(range(484))
rows = [[workers, 484 % workers, sum(map(len, published_deal(numbers, workers)))] for workers in (2, 3, 4, 5, 30)]
table(rows, ["workers", "left over", "cases dealt out"], "484 cases, dealt as published")

# %%
assert sum(map(len, published_deal(numbers, 2))) == 2 * 484 and sum(map(len, published_deal(numbers, 30))) == 484
reveal(
    dealt_guess,
    sum(map(len, published_deal(numbers, 2))),
    "With nothing left over, reminder is 0, and cases[-0:] is cases[0:]: the whole list once more. Every case is "
    "prepared twice, on machines that are paid for, and by two workers at the same time.",
)

# %% [markdown]
# **Exercise.** Deal the cases so that each goes to one machine, and no machine has two more than another.


# %%
def deal(cases: list, machines: int) -> list[list]:
    """One list of cases for each machine."""
    # solution begins
    return [cases[machine::machines] for machine in range(machines)]
    # solution ends


# %%
from labkit.scale_checks import check_deal

check_deal(deal)

# %% [markdown]
# ## 4 · 48,400 copies, and a leak
#
# To rehearse a large data set, the published experiment copied each of 484 patients 100 times. Then it shuffled the
# 48,400 files and took 1 % of them for validation. Here are the same names, shuffled by the same function with the
# same seed.
#
# **Predict.** Validation then has files of 313 patients. How many of those patients also have files in training?

# %%
leak_guess = predict("Of 313 patients in validation, how many are also in training?", 313, unit="patients")  # solution

# %%
from labkit.copies import in_both, patients, published_split, replicated, split_by_patient

names = replicated()
splits = {"split over copies (published)": published_split(names), "split by patient": split_by_patient(names)}
rows = [(name, in_both(*split), len(patients(split[1]))) for name, split in splits.items()]
table(
    [[name, len(splits[name][0]), len(splits[name][1]), total, both] for name, both, total in rows],
    ["split", "training files", "validation files", "patients of validation", "of them in training"],
)

# %% tags=["figure"]
from labkit.scale_plots import sides

show(
    sides(rows),
    f"Bars of the patients of validation: split over copies, {rows[0][1]} of {rows[0][2]} are also trained on; split "
    f"by patient, {rows[1][1]} of {rows[1][2]}.",
)

# %%
assert rows[0][1] == rows[0][2] and rows[1][1] == 0
reveal(
    leak_guess,
    rows[0][1],
    f"All {rows[0][2]}: a patient with one copy in validation has some 99 in training. The score then says how "
    "well the network remembers, and it would rise for a network that learned nothing else.",
)

# %% [markdown]
# **What you saw.** Shuffling is not what went wrong; the order was: first copy, then split. The bundle splits
# patients, then repeats the cases of each part (`python -m scripts.cases --replicate 100`), over the same files. It
# also reads the patient off BraTS names with time points, which are two scans of one person.
#
# **Exercise.** Write the test that finds such a leak. `patient_of` gives the patient of a file's name.

# %%
from scripts.naming import patient_of


def leaking(training: list[str], validation: list[str]) -> int:
    """How many patients have files on both sides."""
    # solution begins
    return len(set(map(patient_of, training)) & set(map(patient_of, validation)))
    # solution ends


# %%
from labkit.scale_checks import check_leak

check_leak(leaking)

# %% [markdown]
# Copies teach nothing about accuracy, so use them for what they are good for: to measure time and storage at scale.
#
# ## 5 · What must not be stored
#
# The published preprocessing runs *all* transforms of training, random crop, flip and intensity included, saves the
# result, and trains on the saved file in every epoch. It does the same to the validation files.
#
# **Predict.** You train several epochs on such files. How many different crops of one case does the network see?

# %%
crops_guess = predict(f"Different crops of one saved case in {EPOCHS} epochs?", 1)  # solution

# %% tags=["figure"]
from labkit.frozen import brain_seen, different, fresh_crops, frozen_crops
from labkit.scale_plots import brain_met, crops

patch_size = [64] * 3
frozen = frozen_crops(cases[0], scratch / "frozen.pt", SPACING_MM, patch_size, EPOCHS)
fresh = fresh_crops(cases[0], SPACING_MM, patch_size, EPOCHS)
show(
    crops(frozen, fresh),
    f"Two rows of {EPOCHS} crops of one case: above, saved once, the same picture in every epoch; below, drawn anew, a "
    "different part of the brain each time.",
)

# %%
assert different(frozen) == 1 and different(fresh) == EPOCHS
reveal(
    crops_guess,
    different(frozen),
    f"The augmentation is frozen: chance is asked once. Drawn in training: {different(fresh)} different ones.",
)

# %% tags=["figure"]
once = brain_seen(cases[0], SPACING_MM, patch_size, 4 * EPOCHS, fresh=False)
anew = brain_seen(cases[0], SPACING_MM, patch_size, 4 * EPOCHS, fresh=True)
assert anew[-1] > once[-1]
show(
    brain_met(once, anew),
    f"Share of a brain that crops of 64 voxels cover over {4 * EPOCHS} epochs: {once[-1]:.0%} if saved once, "
    f"{anew[-1]:.0%} if drawn anew.",
)

# %% [markdown]
# **What you saw.** With 100 copies a patient had 100 frozen crops, so the fault was partly hidden, at 100 times the
# disk. Store what is deterministic, once a patient; draw the rest in training, where it costs a millisecond (lab 03).
#
# ## 6 · Cost: 20 machines, one machine, this machine
#
# The published job prepared 48,400 files on 20 x ml.c4.8xlarge in 27 minutes, by 34 processes on the 18 cores of each:
# 12 s a file and core. How long does one case of that size take here, checked, prepared and stored, on one core?

# %%
from labkit.shards import case_seconds, full_size

measured_s = case_seconds(full_size(cases[0], scratch), scratch / "timed", SPACING_MM)
published_s = 27 * 60 * 20 * 18 / 48_400
table(
    [
        ["published", published_s, 48_400 * published_s / 3600],
        ["this bundle, on this machine", measured_s, 48_400 * measured_s / 3600],
        ["the 484 patients themselves", measured_s, 484 * measured_s / 3600],
    ],
    ["recipe", "s a case and core", "core hours: 48,400 (484) cases x s / 3600"],
)

# %% [markdown]
# Another processor, other file systems, other work: the published recipe resampled three float masks in double
# precision, unpacked a zip and wrote 29 MB; ours resamples one map of ids and writes 7 MB
# (`benchmarks/preprocessing.py` compares the two on one core). The last row is what there is to do at all: a copy
# needs no preparing.
#
# ml.c4.8xlarge is a machine of the past and in no price list here; ml.c5.9xlarge has as many virtual processors, 36,
# which are 18 cores.
#
# **Predict.** 20 machines need 27 minutes, so one machine needs 9 hours. How many times as much does the one machine
# cost?

# %%
dollars_guess = predict(
    "One machine for 9 h: how many times the price of 20 for 27 minutes?", 1, choices=(0.05, 1, 20)
)  # solution

# %%
from labkit.costs import bill, price

MACHINE, CORES = "ml.c5.9xlarge", 18
options = {
    "20 machines, 27 minutes": (20, 27 / 60),
    "1 machine, 9 hours": (1, 9.0),
    "20 machines, 10 minutes": (20, 1 / 6),
}
dollars = {name: count * hours * price(MACHINE) for name, (count, hours) in options.items()}
rows = [[name, f"{n} x {h:.3g} h x ${price(MACHINE)}/h", f"${dollars[name]:.2f}"] for name, (n, h) in options.items()]
table(rows, ["fleet", "arithmetic", "USD"], f"{MACHINE} in us-east-1")

# %%
reveal(
    dollars_guess,
    round(dollars["1 machine, 9 hours"] / dollars["20 machines, 27 minutes"], 3),
    "Machine hours are billed, and there are as many of them. Time is bought for free, as long as all machines work: "
    "what costs is the start of each, and the waiting at the end.",
)

# %% [markdown]
# Now add the start, which every machine pays, and see where more machines stop helping:

# %% tags=["figure"]
from labkit.scale_plots import time_and_dollars

fleets = [Fleet(machines, CORES, measured_s, START_MINUTES * 60) for machines in (1, 2, 5, 10, 20)]
show(
    time_and_dollars(fleets, 48_400, price(MACHINE)),
    "Curves over the number of machines: hours until done fall and level off at the time of the start, dollars rise "
    "with every machine that has to be started.",
)
rows = [[f.machines, f.finished_s(48_400) / 60, f.billed_hours(48_400) * price(MACHINE)] for f in fleets]
assert all(later[1] < earlier[1] and later[2] >= earlier[2] for earlier, later in zip(rows, rows[1:], strict=False))
table(
    rows, ["machines", "minutes", "USD"], f"48,400 cases, {measured_s:.2f} s each, start of {START_MINUTES:g} minutes"
)

# %% [markdown]
# The 484 patients themselves are little work. Two cores here, against a fleet that has to be started first:

# %%
here, rented = Fleet(1, 2, measured_s), Fleet(20, CORES, measured_s, START_MINUTES * 60)
table(
    [
        ["here, 2 cores", here.finished_s(484) / 60, 0.0],
        [f"20 x {MACHINE}", rented.finished_s(484) / 60, rented.billed_hours(484) * price(MACHINE)],
    ],
    ["where", "minutes for 484 cases", "USD"],
    "Measured seconds a case, multiplied",
)

# %% [markdown]
# ## 7 · The job on SageMaker, as a plan
#
# This needs an AWS account to run, and is untested on AWS. Planning needs none: the launcher builds the exact
# request. `ShardedByS3Key` deals the images object by object; the small labels go to every machine. So image and
# label of a case meet without the zip files that the published job packed. Each machine prepares what it finds
# (`--only_present`).

# %%
from IPython.display import display
from labkit.processing_plan import inputs, job, planned

processing = planned(machines=4, instance_type=MACHINE)
dealt = [one["S3Input"]["S3DataDistributionType"] for one in processing.steps[0].request["ProcessingInputs"]]
assert dealt.count("ShardedByS3Key") == 1, dealt
display(inputs(processing), job(processing))

# %% [markdown]
# `python -m sm_launch plan sm_launch/specs/one_gpu.yaml` shows uploads, calls and cost; `python -m sm_launch local`
# runs the same jobs on this machine, with folders in place of S3.
#
# ## What to take away
#
# - Deterministic work can be shared: the parts of two machines were byte for byte the files of one run. Compare
#   checksums, not impressions.
# - N machines take as long as the one with most cases: cases / N, rounded up. Deal with a step, `cases[i::n]`;
#   `[-0:]` is the whole list.
# - Split patients first, then copy. Split over copies, all 313 patients of validation were also trained on.
# - Store what is deterministic. A stored random crop is the same crop in every epoch.
# - 20 machines for 27 minutes cost as much as one for 9 hours, apart from 20 starts. Measure a case first: the
#   cheapest machine hour is the one you do not need.
#
# ## Cloud cost
#
# Nothing here was rented. The published job on today's machines, and where its price comes from:

# %%
bill([(MACHINE, 20, 27 / 60)])

# %% [markdown]
# ## Left behind
#
# Stores and one large case in `labs/work/04`. Lab 11 removes it with `EVERYTHING = True`; so does
# deleting the folder. Nothing in any account.
#
# ## Go further
#
# - `sm_launch/docs/data.md`: buckets, uploads, checksums. `sm_launch/docs/local.md`: jobs on this machine.
# - `bundle/docs/README.md`: the store. `benchmarks/preprocessing.py`: seconds a case, against the published recipe.
# - [ProcessingS3Input](https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProcessingS3Input.html):
#   `S3DataDistributionType`.
# - Kapoor and Narayanan, [Leakage and the reproducibility crisis](https://doi.org/10.1016/j.patter.2023.100804),
#   2023.
# - Next: lab 05 trains with many processes.
