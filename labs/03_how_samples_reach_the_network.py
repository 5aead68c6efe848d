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
# # 03 · How samples reach the network
#
# **After this lab you can**
# - say which step of preparing a sample costs most, and which steps give the same result every time;
# - choose between Dataset, PersistentDataset, CacheDataset, SmartCacheDataset and the store, by time, memory and
#   disk;
# - measure how long a network waits for its samples, and say what that costs on a faster one;
# - spot two mistakes with caches that raise no error: half of the data never seen, and yesterday's voxels served
#   today;
# - say how much memory CacheDataset needs for 484 real cases.
#
# **Before you start** you should have seen the transforms of lab 01; no GPU, no account. Two questions you should be
# able to answer:
#
# <details><summary>Which transforms of a training may be done once and kept?</summary>
# The deterministic ones that come before the first random one. What follows a random transform differs every time.
# </details>
#
# <details><summary>What is an epoch?</summary>
# One pass over the training cases. Here one random crop is taken of every case in an epoch.
# </details>

# %% tags=["parameters"]
DATA: str = "embedded"  # embedded (synthetic patients), a folder in a known layout, or s3://bucket/prefix
CASES: int = 8  # labelled cases to read
EPOCHS: int = 4  # passes over them, at least 2; the first is told apart from the later ones
PATCH: int = 48  # side of a random crop in voxels

# %%
import torch
from labkit.checks import predict, reveal
from labkit.data import dataset
from labkit.figures import show
from labkit.project import work
from labkit.reading import SPACING_MM, WAYS, items_of, measure, recorded, step_costs, transforms
from labkit.tables import table

torch.set_num_threads(1)
scratch = work("03", fresh=True)
cases = items_of(dataset(DATA), CASES)
patch_size = [PATCH] * 3
samples = len(WAYS) * EPOCHS * len(cases)
table([[len(cases), EPOCHS, samples, scratch]], ["cases", "epochs", "samples in all", "written to"], "The plan")

# %% [markdown]
# ## 1 · What one sample costs
#
# A sample is a random crop. Before it can be cut, its case is read and inflated, cropped to the brain, turned,
# resampled, normalised. The first six steps below are deterministic: they give the same voxels in every epoch.
#
# **Predict.** Which of them takes most of the time?

# %%
slowest = predict(
    "Which step takes longest?", "resample", choices=("read", "crop to the brain", "resample", "normalise")
)  # solution

# %% tags=["figure"]
from labkit.reading_plots import bars

fixed, random = transforms(SPACING_MM, patch_size)
costs = step_costs([*fixed, *random], cases[0])
show(
    bars(costs, "One sample: almost all of its cost is deterministic", "CPU ms"),
    f"Bar chart of the CPU time of {len(costs)} transforms; {max(costs, key=costs.get)} takes longest.",
)

# %%
words = {"LoadImaged": "read", "CropToBraind": "crop to the brain", "SeparableSpacingd": "resample"}
words["NormalizeBraind"] = "normalise"
once, every_time = sum(list(costs.values())[: len(fixed)]), costs["RandPatchd"]
assert once > 2 * every_time, "preparing a case should cost far more than cutting a crop"
reveal(
    slowest,
    max(words.values(), key=lambda word: next(costs[name] for name in words if words[name] == word)),
    f"Preparing the case takes {once:.0f} ms, cutting the random crop {every_time:.1f} ms. Who keeps the prepared case "
    f"saves {once / (once + every_time):.0%} of a sample.",
)

# %% [markdown]
# **What you saw.** The random part is cheap, the deterministic part is dear and never changes. All of this lab is
# about where to keep its result.
#
# ## 2 · Five ways, measured
#
# | way | keeps the prepared cases | config |
# |---|---|---|
# | `Dataset` | nowhere | `configs/data/dataset.json` |
# | `PersistentDataset` | on disk, pickled float32 | `configs/data/persistent.json` |
# | `CacheDataset` | in memory, float32 | `configs/data/cache.json` |
# | `SmartCacheDataset` | half of them in memory, a fifth exchanged every epoch | `configs/data/smart_cache.json` |
# | store | on disk, int16 arrays mapped into memory; only the crop is read | `configs/data/store.json` |
#
# The recipe stays the same: an override file changes the dataset and nothing else.
#
# **Predict.** In the *first* epoch, what does a sample from CacheDataset cost, compared with Dataset? And in the
# *later* epochs: how many times less CPU does it take?

# %%
first_guess = predict(
    "CacheDataset's first epoch costs ... of Dataset's.",
    "about the same",
    choices=("a tenth", "about the same", "ten times"),
)  # solution

later_guess = predict("Dataset / CacheDataset, CPU time of a sample in later epochs?", 8, unit="times")  # solution

# %%
from labkit.progress import progress

readings = {}
for way in progress(WAYS, "reading"):
    readings[way] = measure(way, cases, scratch / way, SPACING_MM, patch_size, EPOCHS)
rows = [[r.way, r.first_ms, r.later_ms, r.memory_mb, r.disk_mb, r.samples] for r in readings.values()]
columns = ["way", "first epoch, CPU ms", "later epochs, CPU ms", "memory, MB", "disk, MB", "samples an epoch"]
table(
    rows, columns, f"Times a sample, sizes a case; {len(cases)} cases, {EPOCHS} epochs, crops of {PATCH} voxels a side"
)

# %% tags=["figure"]
from labkit.reading_plots import cost_of_epochs

show(
    cost_of_epochs(list(readings.values())),
    "Two bar charts over the five ways of reading: CPU time a sample in the first and in later epochs on a logarithmic "
    "scale, where the store is lowest in later epochs, and MB a case in memory and on disk.",
)

# %%
first = {way: reading.first_ms for way, reading in readings.items()}
later = {way: reading.later_ms for way, reading in readings.items()}
ratio = first["cache"] / first["dataset"]
# A claim of this lab: nobody saves anything in the first epoch. Within a factor of two, for a busy machine's sake.
assert all(first[way] > first["dataset"] / 2 for way in ("persistent", "cache", "store"))
reveal(
    first_guess,
    "about the same" if 0.3 < ratio < 3 else "a tenth" if ratio < 1 else "ten times",
    f"It is {ratio:.1f} times as much: before anything can be taken from a cache, every case is prepared once.",
)

# %%
assert max(later[way] for way in ("persistent", "cache")) < later["dataset"] / 1.5, "a cache should pay from epoch 2 on"
assert 1 / 4 < later["persistent"] / later["cache"] < 4, "files in the page cache should be about as quick"
assert later["store"] < min(later[way] for way in WAYS if way != "store"), "the store should be cheapest"
reveal(
    later_guess,
    later["dataset"] / later["cache"],
    f"A sample costs {later['dataset']:.0f} ms from Dataset, {later['cache']:.1f} ms from CacheDataset, "
    f"{later['persistent']:.1f} ms from PersistentDataset, {later['store']:.2f} ms from the store.",
)

# %% [markdown]
# **What you saw.** The published workshop expects CacheDataset to be quickest and PersistentDataset next. Two things
# are missing there. The first epoch fills the cache, so a cache pays from the second on. And on one machine
# PersistentDataset's files lie in the system's page cache, so the two are close: MONAI copies a cached *case* before
# it cuts the crop, which takes about as long as reading its file again. The store reads the crop alone.
#
# SmartCacheDataset sees half of the cases in an epoch, so compare it by the sample.
#
# The recorded run of `benchmarks/data_strategies.py` has cases of BraTS's own size, and one more row: `published` is
# the published recipe, which normalises every crop. With three cases SmartCacheDataset holds one and prepares another
# in each epoch.

# %%
full = recorded()
table(
    [[way, row["sample_ms"], row["memory_mb"], row["disk_mb"]] for way, row in full["rows"].items()],
    ["way", "later, CPU ms a sample", "the process grew by, MB", "disk, MB a case"],
    f"3 synthetic cases of 240 x 240 x 155 voxels, {full['machine']}, {full['date']}",
)

# %% [markdown]
# ## 3 · How long the network waits
#
# One real log was published with these systems: 10 epochs on four GPUs, of 15.6 s each. In 14.4 s of them the GPUs
# waited for the first batch: every epoch started its worker processes anew, and every sample was read and prepared
# anew.
#
# **Exercise.** Write the share of the time that is waited.


# %%
def waiting_share(wait_s: float, step_s: float) -> float:
    """Share of the time that a network waits: ``wait_s`` seconds of waiting, ``step_s`` of work."""
    # solution begins
    return wait_s / (wait_s + step_s)
    # solution ends


# %%
from labkit.reading_checks import check_waiting_share

check_waiting_share(waiting_share)

# %% [markdown]
# Now in a training of our own: the recipe's network, forward, backward and update, on crops of 32 voxels. The first
# epoch warms up and is not counted.

# %%
from labkit.reading import loader
from labkit.waiting import plain_loader, training_step, watch

small, few = [32] * 3, cases[:3]
chain = [step for part in transforms(SPACING_MM, small) for step in part]
sources = {
    "Dataset": plain_loader(few, chain, workers=0),
    "Dataset, a worker started every epoch": plain_loader(few, chain, workers=1),
    "Dataset, a worker that stays": plain_loader(few, chain, workers=1, keep_workers=True),
    "store": loader("store", few, scratch / "store", SPACING_MM, small),
}
step = training_step()
waits = {name: watch(source, step, epochs=3) for name, source in progress(sources.items(), "training")}

# %%
rows = [[name, 1000 * w.first_s, f"{waiting_share(w.wait_s, w.step_s):.1%}", w.workers] for name, w in waits.items()]
step_s = waits["store"].step_s / (2 * len(few))
assert waits["store"].share < waits["Dataset"].share, "the store should wait less than Dataset"
assert [w.workers for w in waits.values()] == [1, 3, 1, 1]
columns = ["way", "until the first batch of an epoch, ms", "waiting", "processes that made batches"]
table(rows, columns, f"{len(few)} cases, 2 epochs after one to warm up, wall time")

# %% [markdown]
# **What you saw.** Three epochs took three worker processes, unless the worker was told to stay. On Linux a worker is
# a copy of this process and starts at once; where processes are started afresh (Windows, macOS, some clusters) each
# first imports MONAI, which takes seconds. A worker also needs a core: it hides the preparing, it does not make it
# cheaper.
#
# A GPU's step is far shorter than this processor's. The share of waiting follows from the two numbers:

# %% tags=["figure"]
from labkit.reading_plots import waiting_curves

show(
    waiting_curves(list(readings.values()), step_s),
    "Curves of the share of time waited over the length of a step, one a way of reading: all rise as steps get "
    "shorter, Dataset first and the store last.",
)

# %% [markdown]
# Workers that prepare ahead move each curve to the left, by as much as there are cores for them. A dear sample needs
# many cores beside each GPU; a cheap one needs none.
#
# ## 4 · Spot the bug: a cache that stands still
#
# The published single-GPU script offers SmartCacheDataset for data that do not fit into memory. Shortened:
#
# ```python
# train_ds = SmartCacheDataset(train_files, train_transform, cache_rate=0.5, replace_rate=0.2)
# train_loader = DataLoader(train_ds, batch_size=batch_size)
# for epoch in range(epochs):
#     for batch in train_loader:
#         ...
# ```
#
# **Predict.** There are 10 training files. How many different ones has it trained on after 12 epochs?

# %%
met_guess = predict("Different files of 10 after 12 epochs?", 5, unit="files")  # solution

# %% tags=["figure"]
from labkit.caches import seen_with_start, seen_without_start
from labkit.reading_plots import cases_seen

files = list(range(10))
stands, moves = seen_without_start(files, 12), seen_with_start(files, 12)
show(
    cases_seen(stands, moves, len(files)),
    f"Different cases met over 12 epochs: {stands[-1]} of {len(files)} without the calls, all {moves[-1]} with them.",
)

# %%
assert stands[-1] == len(files) / 2 and moves[-1] == len(files)
reveal(
    met_guess,
    stands[-1],
    "The half that was cached at the start, for ever. No error, no warning: losses fall, and half of the patients were "
    "never looked at.",
)

# %% [markdown]
# **Exercise.** Write the loop so that every file is met. `dataset` is a SmartCacheDataset; MONAI's documentation of
# it names four steps. Return the set of the items that were met.


# %%
def train_with_smart_cache(dataset, epochs: int) -> set:
    """Go through ``epochs`` epochs and return all items that came."""
    # solution begins
    met = set()
    dataset.start()
    for _ in range(epochs):
        met |= {dataset[index] for index in range(len(dataset))}
        dataset.update_cache()
    dataset.shutdown()
    return met
    # solution ends


# %%
from labkit.reading_checks import check_smart_epochs

check_smart_epochs(train_with_smart_cache)

# %% [markdown]
# In the bundle `SmartCacheHandler` makes these calls: it is the last entry of `configs/data/smart_cache.json`.
#
# ## 5 · A cache that outlives its recipe
#
# PersistentDataset names a cached file by a hash of the case's *paths*. The published script writes them beside the
# data and keeps them.
#
# **Predict.** A first run resamples to 2 mm. Then you set 4 mm, and start again with the same cache folder. How many
# voxels along the first axis does the network get, as a share of the first run's?

# %%
stale_guess = predict("Voxels along the first axis: second run / first run?", 1.0, choices=(0.5, 1.0, 2.0))  # solution

# %%
from labkit.caches import served_shape
from labkit.checks import require

shapes = [served_shape(cases[:1], transforms([mm] * 3, patch_size)[0], scratch / "stale") for mm in (2.0, 4.0)]
asked = [served_shape(cases[:1], transforms([4.0] * 3, patch_size)[0], scratch / "anew")]
table(
    [["2 mm", "empty", shapes[0]], ["4 mm", "the one before", shapes[1]], ["4 mm", "empty", asked[0]]],
    ["spacing asked for", "cache folder", "image that is served (C, H, W, D)"],
)

# %%
assert shapes[1] == shapes[0] != asked[0]
reveal(
    stale_guess,
    shapes[1][1] / shapes[0][1],
    "The paths are the same, so the old voxels are served. You would report 4 mm and have computed at 2 mm.",
)

# %% [markdown]
# **Exercise.** What must the name of a cached file depend on? Choose from `KEY_PARTS`.

# %%
from labkit.reading_checks import KEY_PARTS, check_cache_key

print(*KEY_PARTS, sep="\n")
key = {"paths of the files", "size and date of the files", "deterministic transforms"}  # solution

# %%
check_cache_key(key)

# %% [markdown]
# The bundle's `DiskCacheDataset` hashes all three: a changed recipe or a corrected label gets a new file. The store
# goes another way. It holds *one* recipe, and refuses another in a sentence:

# %%
from scripts.errors import InputError
from scripts.store_data import StoreDataset

try:
    StoreDataset(cases, transforms([4.0] * 3, patch_size)[0], str(scratch / "store"))
except InputError as error:
    said = str(error).replace(f"{scratch.parent}/", "")
require("stale" in said, "the store took another recipe's voxels")
print(said)

# %% [markdown]
# One more habit to avoid: the published cache lies inside the folder of the training data. On SageMaker that is an
# input channel; with FastFile or FSx for Lustre it may be read-only. Give a cache a folder of its own.
#
# ## 6 · Does it fit? 484 real cases in memory
#
# BraTS cases have 240 x 240 x 155 voxels of 1 mm, four channels; the published recipe resamples to 1.5 x 1.5 x 2 mm,
# which leaves 160 x 160 x 78, keeps float32 images, and labels as three float32 regions.
#
# **Predict.** How many GB does CacheDataset hold after the first epoch?

# %%
ram_guess = predict("CacheDataset, 484 cases, published recipe: GB of memory?", 27, unit="GB")  # solution

# %%
from labkit.caches import PUBLISHED_GRID, case_mb

from sm_launch.instances import instance

published_mb = case_mb(PUBLISHED_GRID, image_bytes=4 * 4, label_bytes=3 * 4)
ours_mb, store_mb = readings["cache"].memory_mb, readings["store"].disk_mb
rows = [["published recipe", "160 x 160 x 78 x (4 + 3) x 4 bytes", published_mb, published_mb * 484 / 1000]]
rows += [["this recipe, CacheDataset", "brain box x (4 x 4 + 1) bytes, measured above", ours_mb, ours_mb * 484 / 1000]]
rows += [["store, on disk", "brain box x (4 x 2 + 1) bytes, measured above", store_mb, store_mb * 484 / 1000]]
table(
    rows,
    ["way", "arithmetic", "MB a case", "GB for 484"],
    f"ml.g5.2xlarge has {instance('ml.g5.2xlarge').memory_gib} GiB",
)

# %%
assert ours_mb < published_mb and store_mb < ours_mb
reveal(
    ram_guess,
    published_mb * 484 / 1000,
    f"{published_mb:.0f} MB a case, times 484. Of an ml.g5.2xlarge's {instance('ml.g5.2xlarge').memory_gib} GiB that "
    "leaves nothing for the training, and each process of a machine that caches all cases needs as much again.",
)

# %% [markdown]
# **What you saw.** Cropping to the brain and one map of ids instead of three float masks make the cached case smaller
# before anything clever is done. The store halves it again by int16, and its pages belong to the system: all
# processes of a machine share them, and the system takes them back when memory is short.
#
# **Exercise.** `cache_rate` is the share of cases that CacheDataset keeps. Compute it from what you have.


# %%
def cache_rate(cases: int, case_mb: float, memory_gb: float) -> float:
    """Largest share of the cases that ``memory_gb`` GB hold, a case being ``case_mb`` MB (1 GB = 1000 MB)."""
    # solution begins
    return min(1.0, 1000 * memory_gb / (cases * case_mb))
    # solution ends


# %%
from labkit.reading_checks import check_cache_rate

check_cache_rate(cache_rate)

# %% [markdown]
# ## Cloud cost
#
# A GPU that waits is billed like one that works. The published log's job was billed 687 s on an ml.g4dn.12xlarge; its
# ten epochs of 15.6 s waited 14.4 s each.

# %%
from labkit.costs import bill

bill([("ml.g4dn.12xlarge", 1, 10 * 14.4 / 3600), ("ml.g4dn.12xlarge", 1, 10 * 1.2 / 3600)])

# %% [markdown]
# The first line paid for waiting, the second for training. Of the other seconds, 126 went into installing packages at
# the start.
#
# ## What to take away
#
# - Reading, resampling and normalising are nearly all of a sample's cost, and give the same voxels every time;
#   cutting the random crop is cheap.
# - In the first epoch all ways cost about the same. Later Dataset pays the full price again, PersistentDataset and
#   CacheDataset a fraction, the store the least; memory and disk are what you pay with.
# - A network's share of waiting is wait / (wait + step). The faster the device, the larger it is: measure it before
#   you rent more GPUs.
# - A smart cache without `start` and `update_cache` trains on half of the data; a disk cache that hashes paths alone
#   serves the voxels of an older recipe. Neither raises an error.
# - 484 cases by the published recipe need 27 GB in CacheDataset, for each process that caches them all.
#
# ## Left behind
#
# The caches of this lab, in `labs/work/03`. Lab 11 removes it with `EVERYTHING = True`; so does
# deleting the folder. Nothing in any account.
#
# ## Go further
#
# - `bundle/docs/README.md`: the data overrides, and `python -m scripts.store` that fills a store once for all
#   trainings.
# - `benchmarks/data_path.py` and `benchmarks/data_strategies.py`: the claims behind the recorded table, to run
#   yourself.
# - [MONAI's data sets](https://docs.monai.io/en/stable/data.html), and
#   [`DataLoader`](https://docs.pytorch.org/docs/stable/data.html): workers, `persistent_workers`, start methods.
# - Next: lab 04 prepares the cases on many machines.
