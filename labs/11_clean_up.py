# ---
# jupyter:
#   jupytext: {formats: "ipynb,py:percent", text_representation: {extension: .py, format_name: percent}}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 11 · Clean up
#
# **After this lab you can**
#
# - find what the labs left on this disk, and what it takes
# - delete what a local run made, and prove that it is gone and that the data set is not
# - wait for a cloud resource without taking a failure for success
# - say what goes on billing when you stop working, with the arithmetic
# - take down a run in an account by its manifest, and look again
#
# **Before you start** you have launched something (lab 06) or served something (lab 09), or just want to know what
# is left. Can you answer these two?
#
# <details><summary>Which of these end by themselves: training job, endpoint, file system?</summary>
# The training job alone. The other two bill until somebody deletes them.</details>
#
# <details><summary>Where does sm_launch note what a run made?</summary>
# In the run's manifest, ~/.sm-launch/RUN.json, before it asks AWS for the thing; a copy lies in S3.</details>

# %% tags=["parameters"]
DATA: str = "embedded"  # embedded, a folder in a known layout, or s3://bucket/prefix
COMPUTE: str = "local"  # local cleans this disk; sagemaker also takes down RUN in your account
RUN: str = ""  # a run of `sm_launch ls`, taken down where COMPUTE is sagemaker, its files and model included
SHARE: int = 8  # the job that leaves something behind prepares one case in so many
EVERYTHING: bool = False  # False deletes what this lab made; True all that the labs made, their models included
REGION: str = "us-east-1"  # whose prices; for a region that the launcher's table lacks, those of us-east-1 are shown

# %% [markdown]
# ## 1 · What lies here
#
# Everything that labs write lies below one folder, by lab. That is what makes cleaning up possible: nothing is
# searched for.
#
# **Predict.** This lab will now let `sm_launch local` preprocess one case in eight of the data set. The embedded
# data set has 31 MB. How many megabytes will the run's folder hold?

# %%
import labkit  # noqa: F401
from labkit.checks import predict, reveal
from labkit.cleaning import elsewhere, inventory, look, remove
from labkit.commands import quoted, run
from labkit.data import dataset
from labkit.project import BUNDLE, ROOT, WORK, work
from labkit.tables import table
from labkit.where import runs_in_account

# A misspelt COMPUTE stops the lab here, before it has done anything.
in_account = runs_in_account(COMPUTE)

# %%
size = predict("Size of the run's folder?", 30, unit="MB")  # solution

# %%
dataset_dir = dataset(DATA)
places = inventory(WORK)
rows = [place.row() for place in places] or [["nothing yet", 0, 0, "0.0 MB"]]
table(rows, ("folder of labs/work", "files", "links", "size"), f"{sum(place.size for place in places) / 1e6:.0f} MB")

# %%
rows = [[*place.row(name), good] for name, place, good in elsewhere()]
table(rows, ("elsewhere", "files", "links", "size", "what for"), "Outside the work folder: looked at, not touched")

# %% [markdown]
# ## 2 · Make something to clean up
#
# A Processing job of the launcher, on this machine: it builds a part of the store of preprocessed cases (lab 04).

# %%
from labkit.launching import run_id, write_spec

folder = work("11", fresh=True)
arguments = ["--dataset_dir", "{input:data}", "--store_dir", "{output:store}", "--shard", f"0/{SHARE}"]
content = {
    "name": "lab11", "bundle": str(BUNDLE), "region": REGION, "bucket": {"name": "my-brats-bucket"},
    "role": "arn:aws:iam::123456789012:role/SageMakerExecution", "data": {"source": str(dataset_dir)},
    "preprocess": {"instance_type": "ml.c5.xlarge", "packages": [], "arguments": arguments},
}  # fmt: skip
spec = write_spec(folder / "spec.yaml", content)
made_by = run_id(spec)
done = run(f"python -m sm_launch local {quoted(spec)} --run {made_by} --work-dir {quoted(folder / 'local')}", cwd=ROOT)
print("\n".join(done.find(r"Completed|left out|all is in"))[:600])

# %%
made, data = look(folder), look(dataset_dir)
assert made.size > data.size and made.links > 0
reveal(size, made.size / 1e6, "The job's channel is a copy of every case, as on AWS; what it made lies there twice.")
table([made.row("made by this lab"), data.row("the data set")], ("folder", "files", "links", "size"))

# %% [markdown]
# **What you saw.** `sm_launch local` keeps what a job and S3 would have kept: inputs, outputs, logs, model. The
# bucket `s3` only links your cases, but the channel of the job is a copy of them, patients included: that alone is
# a reason to clean up.
#
# **Predict.** We delete the run's folder with all that is in it. How many files of your data set go with it?

# %%
lost = predict("Files of the data set that go with the run's folder?", 0, unit="files")  # solution

# %% [markdown]
# ## 3 · Delete, and look again
#
# `remove` deletes below labs/work only, refuses anything else, and follows no link. "Deleted" without a second look
# is a hope: so count before and after, both what should go and what should stay.

# %%
targets = [place.path for place in inventory(WORK)] if EVERYTHING else [folder]
held = [remove(target) for target in targets]
after = look(dataset_dir)
assert not any(target.exists() for target in targets)
print(f"freed {sum(one.size for one in held) / 1e6:.1f} MB in {sum(one.files for one in held)} files")

# %%
if not EVERYTHING or not dataset_dir.is_relative_to(WORK):
    assert after.files == data.files and after.size == data.size
    reveal(lost, data.files - after.files, "Links go, and the job's copies; not what links point at.")
rows = [held_place.row() + ["gone" if not held_place.path.exists() else "still there"] for held_place in held]
table(rows, ("folder", "files", "links", "size", "now"))

# %% [markdown]
# A path that leads elsewhere is refused, whoever wrote it:

# %%
from scripts.errors import InputError

try:
    remove(WORK.parent / "not-a-lab")
    refused = ""
except InputError as error:
    refused = str(error)
assert "does not lie in" in refused
print(refused.replace(str(WORK.parent), "..."))

# %% [markdown]
# ## 4 · What goes on billing
#
# **Predict.** You close the laptop and forget one of these for a day. Which costs most?

# %%
forgotten = ("endpoint", "file system", "notebook", "S3", "warm pool")
dearest = predict("The dearest of a forgotten day?", "warm pool", choices=forgotten)  # solution

# %%
from labkit.cleaning import leftovers
from labkit.costs import borrowed, priced_region

priced = priced_region(REGION)
bills = leftovers(priced)
worst = max(bills, key=lambda name: bills[name][1])
reveal(dearest, worst, "Two machines of eight A100 kept warm for an hour cost more than an endpoint's whole day.")
rows = [[name, arithmetic, f"${dollars:.2f}"] for name, (arithmetic, dollars) in bills.items()]
table(
    rows,
    ("forgotten", "arithmetic", "first day"),
    f"{priced}; all but the warm pool go on each day.{borrowed(REGION, priced)}",
)

# %% tags=["figure"]
import matplotlib.pyplot as plt
from labkit.figures import show

figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
days = range(1, 31)
colours = dict(zip(bills, ("#E69F00", "#0072B2", "#009E73", "#000000", "#CC79A7"), strict=True))
for name, (_, dollars) in bills.items():
    spent = [dollars if name == "warm pool" else dollars * day for day in days]
    axes.plot(days, spent, color=colours[name], label=name)
axes.set(yscale="log", xlabel="days after you stopped", ylabel="US dollars")
axes.set_title("What is forgotten grows; a warm pool ends")
axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
show(figure, "30 days in dollars: endpoint and file system pass the warm pool, notebook and S3 stay below it.")

# %% [markdown]
# **What you saw.** A warm pool ends by itself after an hour at most; an endpoint and a file system never do. The
# file system is the one that people forget: it is no machine, and its price is for capacity, read or not.
#
# **Exercise: spot the bug.** A published notebook makes a file system of 2,400 GiB and waits for it like this. Then
# it starts a training on it:
#
# ```python
# while status == "CREATING":
#     time.sleep(60)
#     status = fsx.describe_file_systems(FileSystemIds=[name])["FileSystems"][0]["Lifecycle"]
# ```
#
# FAILED is not CREATING either. Write when a training may begin (the states: CREATING, AVAILABLE, FAILED, DELETING,
# MISCONFIGURED):


# %%
def may_train(status: str) -> bool:
    """Whether a training may read a file system in this Lifecycle."""
    # solution begins
    return status == "AVAILABLE"
    # solution ends


# %%
from labkit.cleaning import check_may_train, check_month, fsx_price

check_may_train(may_train)

# %% [markdown]
# **Exercise.** No cell of those notebooks deletes the file system. What does it cost in a month, if nobody does?
# Use `fsx_price(priced)`, dollars for a GB a month. (It is of today's kind nearest to the published PERSISTENT_1 with
# 200 MB/s a TiB, whose price our table lacks.)

# %%
month = 2400 * fsx_price(priced)  # solution

# %%
check_month(month, priced)

# %% [markdown]
# ## 5 · In an account
#
# sm_launch notes each thing in the run's manifest *before* it asks AWS for it. So `down` finds it even if the
# answer never came. It removes in this order, what uses before what is used, and looks at each again:

# %%
from labkit.cleaning import order_of_removal, runs_on_record

table(order_of_removal(), ("kind", "what down does", "costs while it is there"))

# %%
on_record = runs_on_record()
shown = on_record or [["none", "", "this machine launched nothing into an account"]]
table(shown, ("run", "made", "not gone by its manifest"), "Manifests of this machine, AWS not asked")

# %% [markdown]
# With `COMPUTE = "sagemaker"` the next cell asks AWS: what each run is and costs, takes RUN down with its files,
# and looks again. `down` ends with a failure if anything is left. Needs an AWS account; untested on AWS.

# %%
if in_account:
    print(run("python -m sm_launch ls", cwd=ROOT, timeout_s=3600).output)
    if RUN:
        print(run(f"python -m sm_launch down {RUN} --yes --files", cwd=ROOT, timeout_s=3600).output)
        print(run("python -m sm_launch ls", cwd=ROOT, timeout_s=3600).output)
else:
    print("COMPUTE is local: AWS was not asked.")

# %% [markdown]
# What no manifest of ours knows, since something else made it: Studio apps and notebooks (`aws sagemaker
# list-apps`, `list-notebook-instances`), endpoints of other tools (`list-endpoints`), file systems (`aws fsx
# describe-file-systems`), log groups without an end (`aws logs describe-log-groups`), and the data set in S3, which
# `down` names and leaves.
#
# ## What to take away
#
# - All that labs write lies in labs/work, by lab; the phantom and manifests lie elsewhere and were listed.
# - The run's folder was deleted and looked for again; the data set lost no file, since links were deleted and not
#   followed.
# - A wait must name the state that is good: "no longer CREATING" takes FAILED for ready.
# - An endpoint, a file system, a notebook and S3 bill each day, used or not; a warm pool for an hour at most.
# - `ls` and `down` work by the manifest, and `down` looks again before it says that nothing is left.
#
# ## Left behind
#
# Of this lab nothing: its folder was deleted above. With `EVERYTHING = True`, of all labs nothing.
#
# ## Go further
#
# - `sm_launch/docs/cost.md`: prices, quotas, what a run has cost so far
# - [Stopping what bills in SageMaker](https://docs.aws.amazon.com/sagemaker/latest/dg/ex1-cleanup.html)
# - [Deleting an FSx for Lustre file
#   system](https://docs.aws.amazon.com/fsx/latest/LustreGuide/getting-started-step4.html)
