"""Small programs that run in containers, and the requests for them: real processes, without a bundle."""

from __future__ import annotations

from typing import Any

BUCKET = "sm-launch-test"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/test:1"
INSTANCE = "ml.m5.xlarge"

# Prints a metric a step, keeps its step in a checkpoint, leaves a model. At the step WAITS_AT it waits to be stopped.
TRAIN = """
import json, os, pathlib, signal, sys, time
steps, seconds = int(os.environ.get("STEPS", "3")), float(os.environ.get("SECONDS_A_STEP", "0"))
checkpoint = pathlib.Path("/opt/ml/checkpoints/step.json")
node = json.loads(pathlib.Path("/opt/ml/input/config/resourceconfig.json").read_text())["current_host"]
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
first = json.loads(checkpoint.read_text()) if checkpoint.is_file() else 0
print(f"{node} begins at step {first}", flush=True)
for step in range(first, steps):
    if checkpoint.parent.is_dir():
        checkpoint.write_text(json.dumps(step + 1))
    print(f"sm_metric step={step} loss={1 / (step + 1):.4f}", flush=True)
    time.sleep(60 if step == int(os.environ.get("WAITS_AT", "-1")) else seconds)
if os.environ.get("FAIL"):
    pathlib.Path("/opt/ml/output/failure").write_text("The data are no NIfTI files")
    sys.exit(1)
if node == "algo-1":
    pathlib.Path("/opt/ml/model/model.txt").write_text("trained")
"""

# Copies its inputs, in capitals.
PROCESS = """
import pathlib
target = pathlib.Path("/opt/ml/processing/output/out")
for file in sorted(pathlib.Path("/opt/ml/processing/input/data").rglob("*.txt")):
    print("takes", file.name, flush=True)
    target.joinpath(file.name).write_text(file.read_text().upper())
"""

# Says how many bytes it was sent and what lies in its model; refuses the word "bad"; sleeps at the word "slow".
SERVE = """
import http.server, json, os, pathlib, time
MODEL = pathlib.Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", self.headers.get("Accept") or "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer(200, b"")
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if body == b"slow":
            time.sleep(5)
        if body == b"bad":
            return self.answer(400, b"no NIfTI file")
        if body == b"broken":
            return self.answer(500, b"internal error")
        names = sorted(path.name for path in MODEL.iterdir())
        self.answer(200, json.dumps({"bytes": len(body), "first": body[:2].hex(), "model": names}).encode())
    def log_message(self, *args):
        print("request", self.command, self.path, flush=True)
print("serving", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""

METRICS = [{"Name": "loss", "Regex": r"loss=([0-9.eE+-]+)"}]


def s3_input(name: str, uri: str) -> dict[str, Any]:
    """A training channel of a prefix of S3."""
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def training(name: str, role: str, instances: int = 1, **more: Any) -> dict[str, Any]:
    """A CreateTrainingJob request that runs TRAIN from the code channel."""
    return {
        "TrainingJobName": name,
        "RoleArn": role,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python3", "/opt/ml/input/data/code/train.py"],
            "MetricDefinitions": METRICS,
        },
        "InputDataConfig": [s3_input("code", f"s3://{BUCKET}/code/")],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "ResourceConfig": {"InstanceType": INSTANCE, "InstanceCount": instances, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        **more,
    }


def spot(name: str, role: str, **more: Any) -> dict[str, Any]:
    """The same on spot instances, with checkpoints."""
    return training(
        name,
        role,
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 900},
        CheckpointConfig={"S3Uri": f"s3://{BUCKET}/checkpoints/{name}"},
        **more,
    )


def processing(name: str, role: str, instances: int = 1) -> dict[str, Any]:
    """A CreateProcessingJob request that runs PROCESS over s3://BUCKET/texts/, sharded."""

    def source(uri: str, path: str, distribution: str) -> dict[str, Any]:
        return {
            "S3Uri": uri,
            "LocalPath": path,
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
            "S3DataDistributionType": distribution,
        }

    code = source(f"s3://{BUCKET}/code/", "/opt/ml/processing/input/code", "FullyReplicated")
    data = source(f"s3://{BUCKET}/texts/", "/opt/ml/processing/input/data", "ShardedByS3Key")
    out = {"S3Uri": f"s3://{BUCKET}/out/{name}", "LocalPath": "/opt/ml/processing/output/out"}
    return {
        "ProcessingJobName": name,
        "RoleArn": role,
        "AppSpecification": {
            "ImageUri": IMAGE,
            "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/code/process.py"],
        },
        "ProcessingInputs": [
            {"InputName": "code", "S3Input": code},
            {"InputName": "data", "S3Input": data},
        ],
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": {**out, "S3UploadMode": "EndOfJob"}}]},
        "ProcessingResources": {
            "ClusterConfig": {"InstanceType": INSTANCE, "InstanceCount": instances, "VolumeSizeInGB": 10}
        },
    }


def tuning(name: str, role: str, trials: int = 2) -> dict[str, Any]:
    """A CreateHyperParameterTuningJob request whose trials run TRAIN as the image's own command."""
    definition = {key: value for key, value in training("-", role).items() if key != "TrainingJobName"}
    algorithm = {"TrainingImage": IMAGE, "TrainingInputMode": "File", "MetricDefinitions": METRICS}
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": trials, "MaxParallelTrainingJobs": 1},
            "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "lr", "MinValue": "0.1", "MaxValue": "0.2"}]},
        },
        "TrainingJobDefinition": {
            **definition,
            "AlgorithmSpecification": algorithm,
            "StaticHyperParameters": {"fixed": "1"},
        },
    }
