# ---
# jupyter:
#   jupytext: {formats: "ipynb,py:percent", text_representation: {extension: .py, format_name: percent}}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 06 · Launch on SageMaker
#
# **After this lab you can**
#
# - write a spec, and read off its plan what would be uploaded, asked of AWS and paid, before any of it happens
# - give a job the rights that it needs, and no others
# - recognise a spec that AWS refuses, and one that gives a secret away, before it is sent
# - run the very same job on this machine first, then in an account, by one word
# - say what two machines of eight GPUs cost, when they are worth it, and start the same job by the SDK's
#   ModelTrainer
#
# **Before you start** you know how the bundle is trained (lab 02) and what several GPUs change (lab 05). An AWS
# account is not needed. Can you answer these two?
#
# <details><summary>What are a channel and a model artifact?</summary>
# A channel is a folder under /opt/ml/input/data that SageMaker fills from S3 before the job begins. The artifact is
# model.tar.gz: what the job left in /opt/ml/model.</details>
#
# <details><summary>Which knob of train.json names the folder of the cases?</summary>
# dataset_dir. On SageMaker the launcher sets it to the channel's folder.</details>

# %% tags=["parameters"]
DATA: str = "embedded"  # embedded, a folder in a known layout, or s3://bucket/prefix
COMPUTE: str = "local"  # local runs the job on this machine; sagemaker runs it in your account, and costs money
REGION: str = "us-east-1"  # AWS region
BUCKET: str = "my-brats-bucket"  # S3 bucket of uploads and results; yours, where COMPUTE is sagemaker
ROLE: str = "arn:aws:iam::123456789012:role/SageMakerExecution"  # execution role; yours, where COMPUTE is sagemaker
INSTANCE: str = "ml.c5.4xlarge"  # machine of the training job
EPOCHS: int = 2  # passes over the training cases
PATCH: int = 32  # side of the training patches, voxels
KEEP_MODEL: bool = True  # where COMPUTE is sagemaker: False deletes the run's files in S3 as well, its model included

# %% [markdown]
# ## 1 · From a spec to a plan
#
# A **spec** says what you want: bundle, data, machine, overrides, limits. The launcher turns it into a **plan**:
# files to upload and the exact requests that boto3 would send. Making a plan opens no connection and writes
# nothing. The split leaves most cases out, so that the job is short.

# %%
import labkit  # noqa: F401
from labkit.checks import predict, reveal
from labkit.commands import quoted, run
from labkit.costs import bill, borrowed, price, priced_region
from labkit.data import dataset
from labkit.launch_plans import cost, plan_of
from labkit.launching import refusals, rights, run_id, write_spec
from labkit.project import BUNDLE, ROOT, work
from labkit.tables import table
from labkit.where import runs_in_account

# %%
# In an account, data that lies in S3 is used where it lies; a job on this machine takes its copy here.
in_account = runs_in_account(COMPUTE)
source = DATA if in_account and DATA.startswith("s3://") else str(dataset(DATA))
folder = work("06", fresh=True)
train = {
    "instance_type": INSTANCE, "configs": ["configs/train.json"], "max_hours": 1, "expected_hours": 0.1,
    "overrides": {"epochs": EPOCHS, "patch_size": [PATCH] * 3, "split_ratios": [0.1, 0.1, 0.8], "val_interval": 1},
}  # fmt: skip
content = {
    "name": "lab06", "bundle": str(BUNDLE), "region": REGION, "role": ROLE, "bucket": {"name": BUCKET},
    "data": {"source": source}, "train": train,
}  # fmt: skip
SPEC = write_spec(folder / "spec.yaml", content)

# %% [markdown]
# **Predict.** The job is expected to take 0.1 h, about $0.08. The spec lets it run for one hour. What is the most
# that it can cost, in dollars, if it hangs and you are asleep?

# %%
most = predict("The most that the job can cost?", 0.8, unit="USD")  # solution: one hour's price and a little disk

# %%
RUN = run_id(SPEC)
planned = run(f"python -m sm_launch plan {quoted(SPEC)} --run {RUN}", cwd=ROOT)
print(planned.output)

# %%
plan = plan_of(SPEC, RUN)
# The launcher's table has the prices of two regions alone; others have other ones.
priced = priced_region(REGION, INSTANCE)
ceiling, hourly = cost(plan, priced).high, price(INSTANCE, priced)
assert ceiling >= hourly * train["max_hours"]
because = f"1 h x ${hourly}/h in {priced} and its disk: max_hours is the only brake, so set it low."
reveal(most, ceiling, because + borrowed(REGION, priced))

# %% [markdown]
# **What you saw.** The cost is a range: from the hours that you expect to the ceiling that the time limit sets.
# `idle` is what bills each day whether it is used or not: nothing here but storage, since a training job ends by
# itself. The request is plain data; nothing in it is hidden by a library:

# %%
request = plan.steps[-1].request
shown = ("TrainingJobName", "RoleArn", "ResourceConfig", "StoppingCondition", "OutputDataConfig")
rows = [[name, request[name]] for name in shown]
channels = {one["ChannelName"]: one["DataSource"]["S3DataSource"]["S3Uri"] for one in request["InputDataConfig"]}
rows += [[f"channel {name}", uri] for name, uri in channels.items()]
table(rows, ("member of CreateTrainingJob", "value"))

# %% [markdown]
# ## 2 · Rights
#
# Two parties need rights: you, who send the requests, and the job, which takes the execution role. The published
# samples ask for AmazonSageMakerFullAccess, one of them for AmazonS3FullAccess as well: every object of every
# bucket of the account, to read and to delete. `python -m sm_launch policy SPEC` writes the policies of this one
# plan.
#
# **Predict.** With the policy of the *role*, may a bug in the training delete a case of your data set?

# %%
may_delete = predict("May the job delete a case of the data set?", False, choices=(True, False))  # solution

# %%
from labkit.launching import may

from sm_launch.commands_plan import policies

case = "arn:aws:s3:::" + channels["train"].removeprefix("s3://") + "imagesTr/case.nii.gz"
role = policies(plan)["role"]
assert may(role, "s3:GetObject", case)
reveal(may_delete, may(role, "s3:DeleteObject", case), "It reads data and code, and writes only below output and logs.")

# %%
rights(plan, "role")

# %% [markdown]
# **What you saw.** Names and prefixes are those of this run. An asterisk alone stands where AWS knows no resource
# for the action. Only AWS judges a policy in full; this one is untested on AWS.

# %% [markdown]
# ## 3 · Refused before it is sent
#
# AWS checks a request minutes after the upload, some mistakes only after the machines have started. The plan is
# held against AWS's own API model and some 40 rules first (`sm_launch/docs/rules.md`). A misspelt override is
# refused as well; MONAI would take it without effect:

# %%
bad = ["train.overrides.epoch=3", "train.keep_alive_minutes=90", "train.max_hours=0"]
rows = [[change, " ".join(refusals(SPEC, RUN, [change]))] for change in bad]
assert all(sentence for _, sentence in rows)
table(rows, ("--set", "the answer"))

# %% [markdown]
# **Exercise: spot the bug.** Spot machines may cost a third, and may be taken away. A published README trains on
# spot with `max_wait` of 7,200 s and leaves `max_run` at its default of 24 h. AWS refuses it; see why:

# %%
spot = ["train.spot=true", "train.max_hours=24", "train.max_wait_hours=2"]
refused = refusals(SPEC, RUN, spot)
assert len(refused) == 1
print(refused[0].replace("; set", "\n; set").splitlines()[0])

# %%
max_wait_hours = 36  # solution: 24 or more

# %%
from labkit.launching import check_spot

check_spot(SPEC, RUN, max_wait_hours)

# %% [markdown]
# **Exercise: where does the key go?** The same workshop hands a Weights & Biases key over as a hyperparameter. It
# then stands in the answer of DescribeTrainingJob, in the log and, since all arguments are logged, at W&B. Here are
# four ways to let a job report to a tracker. Each is a change of our spec. Which of them leave the key where others
# can read it? Write the set of their names, such as `{"role"}`.

# %%
from labkit.launching import TRACKER_WAYS, carriers, check_leaks

table(list(TRACKER_WAYS.items()), ("way", "--set"))

# %%
leaks = {"environment", "override", "tag"}  # solution

# %%
check_leaks(SPEC, RUN, leaks)

# %% tags=["solution"]
rows = [[way, ", ".join(carriers(plan_of(SPEC, RUN, [change]))) or "nowhere"] for way, change in TRACKER_WAYS.items()]
table(rows, ("way", "the key stands in"))

# %% [markdown]
# A standard plan does not look for secrets in what you write; `profile: phi` does, and refuses them
# (`sm_launch/docs/phi.md`). The bundle itself refuses a key in its configs, since those are stored with every run.

# %% [markdown]
# ## 4 · The very same job, here
#
# `python -m sm_launch local SPEC` takes the plan's own requests, makes /opt/ml, fills the channels and starts the
# same `entry.py` with the same bundle files in a process of its own. Debug there: a mistake shows in seconds and
# costs nothing.
#
# **Predict.** Of the seconds that this short job takes from start to end, what part is spent in training epochs, in
# %?

# %%
share = predict("Part of the job's time that is spent in epochs?", 25, unit="%")  # solution: about a quarter

# %% [markdown]
# With `COMPUTE = "sagemaker"` the cell below does `apply` instead: it uploads, starts the job and follows it; plan
# and cost stand above. It needs an AWS account, your BUCKET and your ROLE; untested on AWS.

# %%
here = f"python -m sm_launch local {quoted(SPEC)} --run {RUN} --work-dir {quoted(folder / 'local')}"
there = f"python -m sm_launch apply {quoted(SPEC)} --run {RUN} --yes"
done = run(there if in_account else here, cwd=ROOT, timeout_s=7200 if in_account else 600)
print(done.tail(6))

# %%
from labkit.launching import training_seconds

epochs_s = training_seconds(done.output)
assert 0 < epochs_s < done.seconds
reveal(
    share, 100 * epochs_s / done.seconds, f"{epochs_s:.0f} of {done.seconds:.0f} s: the rest is start, data, report."
)

# %% [markdown]
# **What you saw.** A job pays for its start: on SageMaker that is also a machine, an image of gigabytes and
# packages by pip. One published log bills 687 s for about 234 s in its loops; pip alone took 126 s. So make few long
# jobs, not many short ones. The status lines, metrics and model artifact are those that SageMaker would show:

# %%
found = done.find(r"(Starting|Downloading|Training|Uploading|Completed): |train_loss |val_mean_dice |  model s3://")
assert any("Completed" in line for line in found)
print("\n".join(line[:110] for line in found))

# %% [markdown]
# The job of an account is looked at again by `follow`, and taken away by `down`. Nothing of a training job bills
# after its end, but files in S3 do: with `KEEP_MODEL = False` the run's files go as well, **its model included**.

# %%
if in_account:
    print(run(f"python -m sm_launch follow {RUN}", cwd=ROOT).tail(4))
    ended = run(f"python -m sm_launch down {RUN} --yes" + ("" if KEEP_MODEL else " --files"), cwd=ROOT)
    print(ended.output)
else:
    print("The job ran here: there is nothing in an account to follow or to take down.")

# %% [markdown]
# ## 5 · Two machines of eight GPUs, with SMDDP
#
# SMDDP is SageMaker's own library for exchanging gradients. It asks for certain machines, an image that has it, and
# its own launcher. The published training took 2 x ml.p3.16xlarge: 16 V100 instead of 1.
#
# **Predict.** Ten published epochs took 86.1 h on 1 GPU, 6.67 h on 8 and 3.61 h on 16. Which of the three was the
# cheapest?

# %%
cheapest = predict("GPUs of the cheapest of the three?", 8, choices=(1, 8, 16))  # solution

# %%
from labkit.launching import published_bill, published_runs

runs = published_runs()
least = min(runs, key=lambda one: one.dollars)
reveal(
    cheapest, least.gpus, "16 GPUs were 1.85 times as fast as 8 for twice the price an hour: time bought with money."
)
rows = [[one.gpus, f"{one.hours:.2f} h", f"${one.dollars:,.0f}"] for one in runs]
table(rows, ("V100", "10 epochs", "training alone"))

# %% tags=["figure"]
import matplotlib.pyplot as plt
from labkit.figures import show

figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.scatter([one.hours for one in runs], [one.dollars for one in runs], s=60, color="#0072B2")
for one in runs:
    axes.annotate(f"  {one.gpus} GPU", (one.hours, one.dollars), va="center")
axes.set(xscale="log", xlabel="hours of ten epochs", ylabel="US dollars", xlim=(2, 200), ylim=(0, 400))
axes.set_title("More GPUs shorten the wait; past the cheapest run they cost more")
show(figure, "Three points: 1 GPU is slowest and dearest, 8 GPUs the cheapest, 16 GPUs the fastest for a little more.")

# %%
published_bill(16)

# %% [markdown]
# **What you saw.** Do not read the step from 1 to 8 GPUs as scaling: the run on 1 GPU decoded .nii.gz, the others
# read preprocessed files. The 27 min on 20 machines that made those come on top (lab 04).
#
# Today's plan for the same: two ml.p4d.24xlarge, since p3 is being retired. Needs an AWS account; untested on AWS.

# %%
SMDDP = ROOT / "sm_launch" / "specs" / "smddp.yaml"
smddp = plan_of(SMDDP, "lab06-smddp")
asked = smddp.steps[-1].request
machines = asked["ResourceConfig"]
rows = [["machines", f"{machines['InstanceCount']} x {machines['InstanceType']}"]]
rows += [["image", asked["AlgorithmSpecification"]["TrainingImage"].split("/")[-1]]]
rows += [["note", note.split(": ", 1)[1]] for note in smddp.notes]
table(rows, ("of the plan", "value"))

# %%
from sm_launch.views import instructions

job = instructions(smddp, asked)
print(f"launch: {job['launch']}, backend: {job['overrides']['backend']}, configs: {', '.join(job['configs'])}")
assert job["launch"] == "smddprun" and machines["InstanceCount"] == 2
bill([(machines["InstanceType"], machines["InstanceCount"], 1.0)])

# %% [markdown]
# The same spec with `train.backend=nccl` and AWS's newest image runs by torchrun. The plan's note says when that is
# the better choice. Ask for SMDDP where it does not run, and the plan is refused before you pay:

# %%
wrong = refusals(SMDDP, "lab06-smddp", ["train.instance_type=ml.g5.12xlarge"])
assert wrong
print(wrong[0])

# %% [markdown]
# ## 6 · The SDK's ModelTrainer from the same spec
#
# Those who live in the SageMaker Python SDK (v3) get its `ModelTrainer` from the same spec: same image, code,
# machines, limits and protection. `trainer.train()` would upload and start it. The SDK copies no data set, so the
# data must lie in S3.

# %%
from labkit.sdk_view import HOW_TO_GET, sdk_is_there, trainer_of, trainer_table

shown = HOW_TO_GET
if sdk_is_there():
    in_s3 = [f"data.source={channels['train'].rstrip('/')}"]
    trainer = trainer_of(SPEC, RUN, in_s3, folder / "sdk", in_account)
    shown = trainer_table(trainer)
shown

# %% [markdown]
# ## What to take away
#
# - A plan shows uploads, requests and a cost from the expected hours to the ceiling; `max_hours` x machines x price
#   is the most that a job can cost, and nothing was called to know it.
# - The plan's own policy let the job read its data and delete none of it.
# - The rules named a wait that is shorter than the run, a misspelt override and a warm pool that is too long,
#   before AWS did. A key in the environment, an override or a tag can be read by others; a role sends none.
# - `local` ran the same requests, entry and bundle; most of a short job is its start. `apply` is the same spec with
#   one word changed.
# - Two p3.16xlarge halved the time at nearly the same bill; SMDDP needs certain machines, and the plan says when
#   NCCL is better. ModelTrainer comes from the same spec.
#
# ## Left behind
#
# On disk: `labs/work/06` with the spec and all that `local` made; lab 11 deletes it with `EVERYTHING = True`. In an
# account: the run's files in S3, if you ran there and kept the model; `python -m sm_launch ls` names the run, `down
# RUN --files` removes it.
#
# ## Go further
#
# - `sm_launch/docs/README.md`, `local.md`, `rules.md`, `sdk.md`, and the specs in `sm_launch/specs`
# - [CreateTrainingJob](https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html)
# - [Managed spot training](https://docs.aws.amazon.com/sagemaker/latest/dg/model-managed-spot-training.html)
# - Part 2 of the published training:
#   <https://aws.amazon.com/blogs/industries/scalable-medical-computer-vision-model-training-with-amazon-sagemaker-part-2/>
