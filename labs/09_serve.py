# ---
# jupyter:
#   jupytext: {formats: "ipynb,py:percent", text_representation: {extension: .py, format_name: percent}}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 09 · Serve a model
#
# **After this lab you can**
#
# - pack a trained bundle so that a container serves it, and say how the container knows that nobody changed it
# - start the serving container's program on this machine, and tell a cold start from a warm answer
# - choose between real-time, async, batch and serverless by size, time and who waits
# - show that a served answer is the one that the bundle computes, and look at it
# - say what an endpoint costs in a day in which nobody asks it anything
#
# **Before you start** you know what the bundle's inference does (lab 02). An AWS account is not needed. Can you
# answer these two?
#
# <details><summary>Why does inference have to know how the model was trained?</summary>
# Spacing, normalisation, network and label ids must be those of the training. This bundle keeps them in model.json
# beside
# the weights.</details>
#
# <details><summary>On which grid is a prediction written?</summary>
# On the case's own: shape and affine of the image that came in.</details>

# %% tags=["parameters"]
DATA: str = "embedded"  # embedded, a folder in a known layout, or s3://bucket/prefix
COMPUTE: str = "local"  # local serves on this machine; sagemaker also deploys in your account, and costs money
CASES: int = 3  # cases to send, at least 2
INSTANCE: str = "ml.g5.xlarge"  # machine of the endpoint that is priced
BUCKET: str = "my-brats-bucket"  # S3 bucket; yours, where COMPUTE is sagemaker
ROLE: str = "arn:aws:iam::123456789012:role/SageMakerExecution"  # execution role; yours, where COMPUTE is sagemaker
BUILD_ROLE: str = "arn:aws:iam::123456789012:role/CodeBuildServeImage"  # role that builds the image; likewise
MODEL_URI: str = "s3://my-brats-bucket/model.tar.gz"  # a model artifact in S3, such as lab 06 leaves; likewise

# %% [markdown]
# ## 1 · What is served
#
# The served thing is the **bundle** itself: configs, scripts and weights, with a manifest of checksums. The
# published segmentation workshop has no inference code at all; the published skin sample deploys the last epoch
# instead of the best one, without the names of its classes. Here one folder has everything, and the container runs
# `inference.json`.
#
# Three guesses first. **Predict.** The container's program starts, imports PyTorch and MONAI, loads the model and
# computes a first case. How many seconds until it says "ready" (on 2 CPU cores)?

# %%
import labkit  # noqa: F401
from labkit.checks import predict, reveal
from labkit.commands import quoted, run
from labkit.data import dataset, listed
from labkit.endpoint import Endpoint, cases_folder, make_artifact
from labkit.model import trained
from labkit.project import ROOT, work
from labkit.tables import table
from labkit.where import runs_in_account

# A misspelt COMPUTE stops the lab here, before it has done anything.
in_account = runs_in_account(COMPUTE)

# %%
cold = predict("Seconds from the start to the first 'ready'?", 15, unit="s")  # solution

# %% [markdown]
# **Predict.** Three people send a case at the same moment. One case alone takes 1 unit of time. How many units does
# the last of the three wait?

# %%
last_waits = predict("Units that the last of three waits?", 3, choices=(1, 2, 3))  # solution

# %% [markdown]
# **Predict.** An async request: when does your call return?

# %%
returns = predict("When does an async call return?", "at once", choices=("at once", "when computed"))  # solution

# %%
dataset_dir = dataset(DATA)
folder = work("09", fresh=True)
artifact = make_artifact(trained(dataset_dir), folder / "artifact")
patients = listed(dataset_dir, CASES)
cases = cases_folder(patients, folder / "cases")
files = sorted(path for path in artifact.rglob("*") if path.is_file())
rows = [["files", len(files)], ["with weights", f"{sum(path.stat().st_size for path in files) / 1e6:.1f} MB"]]
rows += [[f"case {case.name}", f"{case.size / 1e6:.2f} MB, sent as {case.content_type}"] for case in cases]
table(rows, ("artifact and cases", "size"))

# %% [markdown]
# **One changed line.** A config is code: MONAI evaluates every value that begins with `$`. So the server believes
# no file before it is what `manifest.json` says. Somebody "tunes" a script in the artifact, by hand:

# %%
from sm_launch.container.serve.artifact import verified
from sm_launch.container.serve.errors import StartError

changed = artifact / "bundle" / "scripts" / "labels.py"
before = changed.read_bytes()
changed.write_bytes(before + b"\n# tuned by hand\n")
try:
    verified(artifact)
    complaint = ""
except StartError as error:
    complaint = str(error)
changed.write_bytes(before)
assert "labels.py" in complaint
print(complaint)

# %% [markdown]
# Whoever may replace the artifact may also replace the manifest in it. `MANIFEST_SHA256`, in the model's
# environment, pins the manifest itself; only the account's own API can set that.

# %% [markdown]
# ## 2 · Start the container's program
#
# The image is a Dockerfile around `python -m sm_launch.container.serve`, a FastAPI program with `GET /ping` and
# `POST /invocations` (`sm_launch/docs/serving.md`). `sm_launch local` starts the same for a spec with `deploy`;
# here it runs on loopback, with /opt/ml/model in place. The image itself was never built here; untested on AWS.

# %%
verified(artifact)
endpoint = Endpoint(artifact, folder / "container")
reveal(cold, endpoint.cold_start_s, "On AWS add a machine and an image of gigabytes: minutes before the first answer.")

# %% [markdown]
# ## 3 · Real-time: the caller waits
#
# One case, one request, one answer. The container says ready only after a first case, so this one is warm already.

# %%
answers = [endpoint.realtime(case) for case in cases]
assert all(answer.status == 200 for answer in answers)
alone = min(answer.seconds for answer in answers)
rows = [
    [case.name, f"{answer.seconds:.2f} s", f"{len(answer.content) / 1e3:.0f} kB"]
    for case, answer in zip(cases, answers, strict=True)
]
table(rows, ("case", "latency", "answer"))

# %%
together = endpoint.together([cases[0]] * 3)
waits = sorted(answer.seconds for answer in together)
one_alone = endpoint.realtime(cases[0]).seconds
assert waits[-1] > 1.2 * waits[0]
reveal(
    last_waits,
    round(waits[-1] / waits[0]),
    "It computes one case at a time; the others wait. Four may; one more gets a 429.",
)

# %% tags=["figure"]
import matplotlib.pyplot as plt
from labkit.figures import show

figure, axes = plt.subplots(figsize=(8, 2.6), layout="constrained")
names = ["cold start", "one alone", "first of three", "second", "third"]
seconds = [endpoint.cold_start_s, one_alone, *waits]
axes.barh(names[::-1], seconds[::-1], color=["#56B4E9"] * 4 + ["#E69F00"])
axes.set_xlabel("seconds")
axes.set_title("A start costs many answers, and callers queue behind one another")
show(figure, "Bars of seconds: the cold start is by far the longest; of three callers each waits one case longer.")

# %% [markdown]
# **What you saw.** A cold start is worth many answers: that is what an idle endpoint buys off, and what scaling to
# zero brings back. More callers at a time need more machines, not more threads: a volume fills the memory of one
# GPU.

# %% [markdown]
# ## 4 · Async and batch: nobody waits
#
# Async: the case lies in S3, the request is put into a queue and returns; the answer appears in S3. Batch: a job
# walks over a folder and ends. Behind both is the same container with the same POST.

# %%
import time

began = time.perf_counter()
promised = [endpoint.submit(case, folder / "async") for case in cases]
returned_s = time.perf_counter() - began
paths = [promise.result() for promise in promised]
computed_s = time.perf_counter() - began
returned = "at once" if returned_s < 0.1 * computed_s else "when computed"
reveal(
    returns, returned, f"{len(cases)} calls returned in {returned_s * 1e3:.0f} ms; the answers took {computed_s:.1f} s."
)

# %%
written = endpoint.batch(cases, folder / "batch")
same = [one.read_bytes() == two.read_bytes() for one, two in zip(paths, written, strict=True)]
assert all(same)
table([[one.name, two.name, "yes"] for one, two in zip(paths, written, strict=True)], ("async", "batch", "same bytes"))

# %% [markdown]
# With `Accept: application/json` the container tells a label volume as millilitres instead:

# %%
told = endpoint.realtime(cases[0], accept="application/json").json()["files"][0]
rows = [[f"label {value}", f"{facts['ml']:.1f} ml"] for value, facts in told["labels"].items()]
table(rows, (cases[0].name, "predicted volume"))

# %% [markdown]
# ## 5 · What fits
#
# Every mode limits the body of a request. A published BraTS case has 9.6 MB on average: image and label, gzipped.
# These are the limits that `predict` holds your cases against, before it sends the first one:

# %%
from labkit.serving_checks import check_async_day, check_modes, idle_day, verdicts

sizes = {"a 2.5 MB case": 2_500_000, "a 30 MB case": 30_000_000, "a 150 MB case": 150_000_000}
table(verdicts(sizes), ("mode", *sizes))

# %% [markdown]
# **Exercise.** Which modes take a case of 9.6 MB? Write a set of names from the table's first column.

# %%
modes = {"async", "realtime", "batch"}  # solution

# %%
check_modes(modes)

# %% [markdown]
# ## 6 · Is it the same answer?
#
# **Predict.** The same case by `python -m monai.bundle run` with `inference.json`, as in lab 02. In how many voxels
# does that file differ from the served answer?

# %%
differing = predict("Voxels that differ?", 0, unit="voxels")  # solution

# %%
inference = f"python -m monai.bundle run --config_file configs/inference.json --output_dir {quoted(folder / 'local')}"
inference += f" --dataset_dir {quoted(folder / 'cases')}"
done = run(inference, cwd=artifact / "bundle")
print(done.tail(len(cases)))

# %%
import nibabel as nib
import numpy as np

answered, local = (nib.load(place / paths[0].name) for place in (folder / "async", folder / "local"))
voxels = int((np.asanyarray(answered.dataobj) != np.asanyarray(local.dataobj)).sum())
assert np.array_equal(answered.affine, local.affine) and voxels == 0
reveal(
    differing, voxels, "The container runs the bundle's own inference config: same transforms, windows and label ids."
)

# %% [markdown]
# Look at it: the case, its label map and the served answer. Press `e` for the error map. The model was trained for
# a minute; do not judge it, and on the embedded phantom nothing means anything clinically.

# %% tags=["figure"]
from scripts.viewer import show_case

show_case(patients[0]["image"], patients[0]["label"], paths[0], title=f"{cases[0].name}, as served")

# %%
endpoint.stop()
assert endpoint.server.returncode() is not None
print("The program has ended; nothing listens any more.")

# %% [markdown]
# ## 7 · What idling costs
#
# A real-time endpoint has its machine day and night. An async endpoint may scale to none: a queue that is not empty
# starts the first machine, in minutes.
#
# **Predict.** A real-time endpoint on one ml.g5.xlarge, over a day in which nobody asks it anything: how many
# dollars?

# %%
idle = predict("Dollars for a day of idling?", 30, unit="USD")  # solution

# %%
from labkit.costs import bill, price

reveal(
    idle, idle_day(INSTANCE), f"24 h x ${price(INSTANCE)}/h, asked or not; in a month ${30 * idle_day(INSTANCE):,.0f}."
)
bill([(INSTANCE, 1, 24.0)])

# %% [markdown]
# **Exercise.** An async endpoint on the same machine wakes twice a day, for half an hour each time, start and the
# quiet time before it scales in counted. What does its day cost? Use `price(INSTANCE)`, dollars an hour.

# %%
async_day = 2 * 0.5 * price(INSTANCE)  # solution

# %%
check_async_day(async_day, INSTANCE)

# %% [markdown]
# ## 8 · The same in an account
#
# `specs/serve.yaml` builds the image on AWS, deploys it async and lets it scale from 0 to 2 machines. Its plan
# opens no connection. Needs an AWS account; untested on AWS.

# %%
from labkit.launching import run_id

spec = ROOT / "sm_launch" / "specs" / "serve.yaml"
run_name = run_id(spec)
settings = {
    "bucket.name": BUCKET, "role": ROLE, "image.role": BUILD_ROLE, "deploy.model": MODEL_URI,
    "deploy.instance_type": INSTANCE,
}  # fmt: skip
words = " ".join(f"--set {key}={value}" for key, value in settings.items())
planned = run(f"python -m sm_launch plan {quoted(spec)} --run {run_name} {words}", cwd=ROOT)
steps = planned.find(r"^ +\d+  [A-Z]")
assert any("RegisterScalableTarget" in step for step in steps)
print("\n".join([*steps, *planned.find("scales to zero")]))

# %% [markdown]
# With `COMPUTE = "sagemaker"` the next cell carries it out: deploy, send this lab's cases, and take everything down
# again, whatever happens in between.

# %%
if in_account:
    try:
        run(f"python -m sm_launch apply {quoted(spec)} --run {run_name} --yes {words}", cwd=ROOT, timeout_s=3600)
        run(
            f"python -m sm_launch predict {run_name} {quoted(folder / 'cases')} {quoted(folder / 'aws')} --yes",
            cwd=ROOT,
            timeout_s=3600,
        )
    finally:
        print(run(f"python -m sm_launch down {run_name} --yes --files", cwd=ROOT, timeout_s=3600).output)
else:
    print("COMPUTE is local: nothing was deployed.")

# %% [markdown]
# ## What to take away
#
# - The artifact is the bundle with its weights and checksums; the server refused it after one changed line.
# - The start took many times as long as a warm answer: seconds here, minutes on AWS.
# - Real-time lets the caller wait, async returns at once, batch walks over a folder, serverless takes 4 MB; 9.6 MB
#   fit into three of them, and three callers at once wait for one another.
# - The served answer had the same voxels and affine as `monai.bundle run`, by whichever way it was asked.
# - An idle endpoint costs its machine for 24 hours a day; scaled to zero it costs what it is awake for.
#
# ## Cloud cost
#
# None here. In an account: section 7, and a build of the image of some minutes on CodeBuild.
#
# ## Left behind
#
# `labs/work/09` on disk, which lab 11 deletes with `EVERYTHING = True`; the program has ended. In an account
# nothing, once `down` has said so.
#
# ## Go further
#
# - `sm_launch/docs/serving.md`: environment, refusals, image, `predict`
# - [Inference options in SageMaker](https://docs.aws.amazon.com/sagemaker/latest/dg/deploy-model-options.html)
# - [Autoscale an asynchronous
#   endpoint](https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-autoscale.html)
