"""What a plan holds, for each kind of job and for every spec that the project brings."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from scripts.store import recipe_of
from scripts.store_recipe import describe_recipe
from specs import BUNDLE, KMS_KEY, RUN, plan_of, request_of, spec_of

from sm_launch import cost, render
from sm_launch.checks import problems
from sm_launch.commands_plan import policies
from sm_launch.errors import LaunchError
from sm_launch.plan import make_plan, new_run
from sm_launch.reading import read
from sm_launch.steps import Plan

ROOT = Path(__file__).resolve().parents[2]
SPECS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "sm_launch" / "specs").rglob("*.yaml"))
SECURITY = {"subnets": ["subnet-0123456789abcdef0"], "security_groups": ["sg-0123456789abcdef0"]}
FULL = {**SECURITY, "kms_key": KMS_KEY, "network_isolation": True, "encrypt_traffic": True}
SEARCH = "configs/search/lr_batch_loss.json"


def job_of(plan: Plan, channel: str) -> dict[str, Any]:
    """job.json of a code channel."""
    (found,) = [upload for upload in plan.uploads if upload.uri.endswith(f"/{channel}/job.json")]
    return json.loads(found.data)


@pytest.mark.parametrize("file", SPECS)
def test_a_spec_of_the_project_may_be_carried_out(file: str, tmp_path: Path) -> None:
    changes = []
    if "phi" in file:
        (tmp_path / "monai-1.6.1-py3-none-any.whl").write_bytes(b"x")
        changes = [f"wheels={tmp_path}"]
    spec = read(ROOT / file, changes)
    plan = make_plan(spec, new_run(spec, datetime(2026, 11, 21, 12)))
    assert problems(plan) == []
    assert plan.steps


def test_the_store_of_a_spec_is_made_by_the_recipe_that_its_training_wants() -> None:
    plan = make_plan(read(ROOT / "sm_launch" / "specs" / "one_gpu.yaml", []), RUN)
    arguments = job_of(plan, "code-preprocess")["arguments"]
    files = arguments[arguments.index("--config_file") + 1 :]
    made, wanted, default = (
        describe_recipe(recipe_of([str(BUNDLE / name) for name in names], {})[0])
        for names in (files, job_of(plan, "code-train")["configs"], ["configs/train.json"])
    )
    assert made == wanted != default


def test_a_plan_makes_no_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError(f"a socket was made: {arguments}")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "monai-1.6.1-py3-none-any.whl").write_bytes(b"x")
    plan = plan_of(preprocess={"instance_type": "ml.c5.xlarge"}, security=FULL, wheels=str(tmp_path))
    assert problems(plan) == []
    assert render.text(plan, cost.estimate(plan)) and policies(plan) and render.content(plan)


def test_the_command_line_starts_without_boto3() -> None:
    code = (
        "import sys, sm_launch.cli as c; c.parser(); print({'boto3', 'botocore', 'yaml', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_same_spec_gives_the_same_plan() -> None:
    assert plan_of() == plan_of()


def test_one_gpu() -> None:
    plan = plan_of()
    request = request_of(plan, "CreateTrainingJob")
    assert request["TrainingJobName"] == f"{RUN}-train"
    assert request["AlgorithmSpecification"]["ContainerEntrypoint"] == ["python3", "/opt/ml/input/data/code/entry.py"]
    assert "cu" in request["AlgorithmSpecification"]["TrainingImage"]
    channels = {channel["ChannelName"]: channel for channel in request["InputDataConfig"]}
    assert channels["train"]["DataSource"]["S3DataSource"]["S3Uri"] == "s3://brats-bucket/Task01/"
    job = job_of(plan, "code-train")
    assert (job["launch"], job["configs"]) == ("none", ["configs/train.json"])
    assert job["overrides"] == {"dataset_dir": "{channel:train}", "output_dir": "{tensorboard}"}


def test_the_code_channel_holds_the_bundle_the_entry_and_the_job() -> None:
    plan = plan_of()
    root = f"s3://brats-bucket/sm-launch/runs/{RUN}/code-train/"
    names = {upload.uri.removeprefix(root): upload for upload in plan.uploads}
    assert {"entry.py", "job.json", "requirements.txt", "bundle/configs/train.json"} <= set(names)
    train = names["bundle/configs/train.json"]
    assert train.size == (BUNDLE / "configs" / "train.json").stat().st_size
    assert re.fullmatch("[0-9a-f]{64}", train.sha256)
    assert "monai==" in names["requirements.txt"].data.decode()


@pytest.mark.parametrize(
    ("train", "launch", "overlay"),
    [
        ({"instance_type": "ml.g5.2xlarge"}, "none", False),
        ({"instance_type": "ml.g5.12xlarge"}, "torchrun", True),
        ({"instance_type": "ml.g5.2xlarge", "instance_count": 2}, "torchrun", True),
        ({"instance_type": "ml.c5.xlarge", "processes_per_host": 2}, "torchrun", True),
        ({"instance_type": "ml.g5.12xlarge", "processes_per_host": 1}, "none", False),
        ({"instance_type": "ml.p4d.24xlarge", "backend": "smddp"}, "smddprun", True),
        ({"instance_type": "ml.g5.12xlarge", "launch": "mpirun"}, "mpirun", True),
    ],
)
def test_processes_and_their_launcher(train: dict[str, Any], launch: str, overlay: bool) -> None:
    job = job_of(plan_of(train=train), "code-train")
    assert job["launch"] == launch
    assert ("configs/multi_gpu_train.json" in job["configs"]) is overlay
    assert job["overrides"].get("backend") == (train.get("backend", "auto") if overlay else None)


def test_spot_keeps_checkpoints_and_resumes() -> None:
    plan = plan_of(train={"instance_type": "ml.g5.2xlarge", "spot": True, "max_hours": 3})
    request = request_of(plan, "CreateTrainingJob")
    assert request["EnableManagedSpotTraining"] is True
    assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": 10800, "MaxWaitTimeInSeconds": 21600}
    assert request["CheckpointConfig"]["LocalPath"] == "/opt/ml/checkpoints"
    assert job_of(plan, "code-train")["overrides"] == {
        "dataset_dir": "{channel:train}",
        "ckpt_dir": "{checkpoints}/models",
        "output_dir": "{checkpoints}/runs",
        "resume": "auto",
    }


def test_warm_pool_keeps_pips_cache() -> None:
    request = request_of(
        plan_of(train={"instance_type": "ml.g5.2xlarge", "keep_alive_minutes": 30}), "CreateTrainingJob"
    )
    assert request["ResourceConfig"]["KeepAlivePeriodInSeconds"] == 1800
    assert request["Environment"] == {"PIP_CACHE_DIR": "/opt/ml/sagemaker/warmpoolcache/pip"}


def test_mlflow_and_fastfile_reach_the_request() -> None:
    arn = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/brats"
    train = {"instance_type": "ml.g5.2xlarge", "mlflow_arn": arn, "input_mode": "FastFile"}
    request = request_of(plan_of(train=train), "CreateTrainingJob")
    assert request["MlflowConfig"]["MlflowResourceArn"] == arn
    modes = {channel["ChannelName"]: channel["InputMode"] for channel in request["InputDataConfig"]}
    # The entry is run, and so read whole, before anything else.
    assert modes == {"code": "File", "train": "FastFile"}


def test_all_protection_reaches_every_job() -> None:
    plan = plan_of(
        security=FULL,
        preprocess={"instance_type": "ml.c5.xlarge"},
        train={"instance_type": "ml.m5.4xlarge", "packages": []},
        tune={"search": SEARCH, "trials": 4},
    )
    processing = request_of(plan, "CreateProcessingJob")
    trials = request_of(plan, "CreateHyperParameterTuningJob")["TrainingJobDefinition"]
    network = {"VpcConfig": {"SecurityGroupIds": SECURITY["security_groups"], "Subnets": SECURITY["subnets"]}}
    switches = {"EnableNetworkIsolation": True, "EnableInterContainerTrafficEncryption": True}
    assert processing["NetworkConfig"] == {**switches, **network}
    assert processing["ProcessingResources"]["ClusterConfig"]["VolumeKmsKeyId"] == KMS_KEY
    assert processing["ProcessingOutputConfig"]["KmsKeyId"] == KMS_KEY
    assert {key: trials[key] for key in (*switches, "VpcConfig")} == {**switches, **network}
    assert trials["ResourceConfig"]["VolumeKmsKeyId"] == trials["OutputDataConfig"]["KmsKeyId"] == KMS_KEY
    assert plan.kms_key == KMS_KEY


def test_a_disk_of_its_own_takes_no_volume_key() -> None:
    plan = plan_of(security={"kms_key": KMS_KEY})
    assert "VolumeKmsKeyId" not in request_of(plan, "CreateTrainingJob")["ResourceConfig"]


def test_images_are_dealt_and_labels_go_everywhere() -> None:
    preprocess = {
        "instance_type": "ml.c5.xlarge",
        "instance_count": 3,
        "sharded": ["imagesTr"],
        "replicated": ["labelsTr", "dataset.json"],
    }
    plan = plan_of(preprocess=preprocess)
    inputs = {one["InputName"]: one["S3Input"] for one in request_of(plan, "CreateProcessingJob")["ProcessingInputs"]}
    dealt = {name: one["S3DataDistributionType"] for name, one in inputs.items()}
    assert dealt == {
        "code": "FullyReplicated",
        "data-imagesTr": "ShardedByS3Key",
        "data-labelsTr": "FullyReplicated",
        "data-dataset-json": "FullyReplicated",
    }
    job = job_of(plan, "code-preprocess")
    assert job["arguments"] == ["--dataset_dir", "{input:data}", "--store_dir", "{output:store}", "--only_present"]
    assert job["joined"]["data"]["dataset.json"] == "{input:data-dataset-json}/dataset.json"
    # Without it, every machine gets everything and takes its share of the cases.
    job = job_of(plan_of(preprocess={"instance_type": "ml.c5.xlarge"}), "code-preprocess")
    assert job["arguments"][-2:] == ["--shard", "{host_index}/{host_count}"]


def test_training_reads_what_preprocessing_wrote() -> None:
    train = {
        "instance_type": "ml.g5.2xlarge",
        "configs": ["configs/train.json", "configs/data/store.json"],
        "channels": {"train": "data", "store": "preprocess"},
        "channel_knobs": {"store_dir": "store"},
    }
    plan = plan_of(preprocess={"instance_type": "ml.c5.xlarge"}, train=train)
    written = request_of(plan, "CreateProcessingJob")["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    channels = request_of(plan, "CreateTrainingJob")["InputDataConfig"]
    assert channels[2]["DataSource"]["S3DataSource"]["S3Uri"] == f"{written}/"
    assert job_of(plan, "code-train")["overrides"]["store_dir"] == "{channel:store}"
    assert [step.wait for step in plan.steps] == [True, False]


@pytest.mark.parametrize(("kind", "folder"), [("SCRATCH_2", ""), ("PERSISTENT_2", "/data")])
def test_lustre_is_made_first_and_read_where_its_type_shows_the_data(kind: str, folder: str) -> None:
    plan = plan_of(security=SECURITY, file_system={"kind": kind})
    made = request_of(plan, "CreateFileSystem")
    assert ("ImportPath" in made["LustreConfiguration"]) is (kind == "SCRATCH_2")
    assert ("CreateDataRepositoryAssociation" in [step.operation for step in plan.steps]) is (kind == "PERSISTENT_2")
    source = request_of(plan, "CreateTrainingJob")["InputDataConfig"][1]["DataSource"]["FileSystemDataSource"]
    assert source["DirectoryPath"] == "/{file-system:mount}" + folder
    assert problems(plan) == []


def test_tuning_takes_the_bundles_search_file() -> None:
    plan = plan_of(tune={"search": SEARCH, "trials": 6, "parallel": 3, "strategy": "Bayesian", "early_stopping": True})
    assert [step.operation for step in plan.steps] == ["CreateHyperParameterTuningJob"]
    request = request_of(plan, "CreateHyperParameterTuningJob")
    config = request["HyperParameterTuningJobConfig"]
    search = json.loads((BUNDLE / SEARCH).read_text())
    assert config["ResourceLimits"] == {"MaxNumberOfTrainingJobs": 6, "MaxParallelTrainingJobs": 3}
    assert config["HyperParameterTuningJobObjective"] == {"Type": "Maximize", "MetricName": "val_mean_dice"}
    assert config["TrainingJobEarlyStoppingType"] == "Auto"
    job = job_of(plan, "code-tune")
    assert set(job["hyperparameters"].values()) == set(search["space"])
    names = [one["Name"] for ranges in config["ParameterRanges"].values() for one in ranges]
    assert set(names) == set(job["hyperparameters"])
    assert job["overrides"]["epochs"] == search["epochs"]
    assert len(request["HyperParameterTuningJobName"]) <= 32


@pytest.mark.parametrize(
    ("search", "tune", "strategy", "trials"),
    [
        ("configs/search/distmis_grid.json", {}, "Grid", 32),
        ("configs/search/distmis_grid.json", {"strategy": "Random", "trials": 5}, "Random", 5),
        ("configs/search/distmis_grid.json", {"strategy": "Hyperband", "trials": 9}, "Hyperband", 9),
    ],
)
def test_strategies(search: str, tune: dict[str, Any], strategy: str, trials: int) -> None:
    request = request_of(plan_of(tune={"search": search, **tune}), "CreateHyperParameterTuningJob")
    config = request["HyperParameterTuningJobConfig"]
    assert (config["Strategy"], config["ResourceLimits"]["MaxNumberOfTrainingJobs"]) == (strategy, trials)
    if strategy == "Hyperband":
        assert config["StrategyConfig"]["HyperbandStrategyConfig"] == {"MinResource": 1, "MaxResource": 20}


def test_deployment_takes_the_model_that_is_trained() -> None:
    plan = plan_of(
        deploy={"image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/s:1", "instance_type": "ml.g5.xlarge"}
    )
    output = request_of(plan, "CreateTrainingJob")["OutputDataConfig"]["S3OutputPath"]
    model = request_of(plan, "CreateModel")["PrimaryContainer"]["ModelDataUrl"]
    assert model == f"{output}/{RUN}-train/output/model.tar.gz"
    # There is no model before the training has ended.
    assert plan.steps[0].wait


def test_a_folder_of_cases_is_listed_with_its_size(tiny_decathlon: Path) -> None:
    plan = plan_of(data={"source": str(tiny_decathlon)})
    (copy,) = plan.copies
    assert copy.uri == f"s3://brats-bucket/sm-launch/data/{tiny_decathlon.name}/"
    assert copy.size == sum(path.stat().st_size for path in tiny_decathlon.rglob("*") if path.is_file())
    assert "imagesTr/" in copy.files[1].name


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "my_brats"}, "name is 'my_brats'; write letters, digits and single hyphens"),
        ({"name": "a" * 20}, "at most 19"),
        ({"bundle": "/nowhere"}, "/nowhere: there is no such folder; set bundle to the folder that holds configs/."),
        ({"train": None, "data": None}, "the spec has neither data nor a job"),
        ({"train": {"instance_type": "ml.g5.2xlage"}}, "ml.g5.2xlarge"),
        ({"region": "us-east-9"}, "us-east-9"),
        ({"data": None}, "train.channels.train is 'data', and the spec has no data; add data.source."),
        ({"data": {"source": "/nowhere"}}, "/nowhere: there is no such folder; set data.source"),
        ({"file_system": {}}, "file_system: FSx for Lustre lies in a VPC; add security.subnets"),
        ({"train": {"instance_type": "ml.g5.xlarge", "channels": {"a": "b"}}}, "train.channels.a is 'b'; choose data,"),
        (
            {"train": {"instance_type": "ml.g5.xlarge", "configs": ["configs/tran.json"]}},
            "did you mean configs/train.json?",
        ),
        ({"train": {"instance_type": "ml.g5.xlarge", "overrides": {"epoch": 1}}}, "did you mean 'epochs'?"),
        ({"tune": {"search": "configs/search/none.json"}}, "none.json: cannot be read"),
        ({"tune": {"search": SEARCH, "metric": "dice"}}, "tune.metric is 'dice', and the log is read for train_loss"),
        ({"tune": {"search": SEARCH, "strategy": "Grid"}}, "has ranges; choose Random or Bayesian."),
        ({"tune": {"search": "configs/train.json"}}, "is no search file"),
        ({"train": None, "tune": {"search": SEARCH}}, "tune: there is no training to tune; add train to the spec."),
        ({"deploy": {"instance_type": "ml.g5.xlarge"}}, "deploy.image is missing; set it to the URI"),
        ({"train": None, "deploy": {"image": "i", "instance_type": "ml.g5.xlarge"}}, "deploy.model is missing"),
    ],
)
def test_a_contradiction_is_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(LaunchError) as error:
        plan_of(**changes)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_jobs_may_be_chosen() -> None:
    spec = spec_of(preprocess={"instance_type": "ml.c5.xlarge"}, tune={"search": SEARCH})
    operations = {
        (): ["CreateProcessingJob", "CreateHyperParameterTuningJob"],
        ("train",): ["CreateTrainingJob"],
        ("train", "tune"): ["CreateTrainingJob", "CreateHyperParameterTuningJob"],
    }
    for jobs, wanted in operations.items():
        assert [step.operation for step in make_plan(spec, RUN, jobs).steps] == wanted
    with pytest.raises(LaunchError, match="the spec has no deploy; add it, or choose among preprocess, train, tune."):
        make_plan(spec, RUN, ("deploy",))
    with pytest.raises(LaunchError, match="'serve' is no job; choose among preprocess, train, tune, image, deploy."):
        make_plan(spec, RUN, ("serve",))


def test_a_data_set_does_not_bring_its_neighbours() -> None:
    # S3 matches prefixes as plain text: Task01 would be Task01_2mm as well.
    plan = plan_of(
        preprocess={"instance_type": "ml.c5.xlarge", "sharded": ["imagesTr"], "replicated": ["dataset.json"]}
    )
    inputs = request_of(plan, "CreateProcessingJob")["ProcessingInputs"]
    uris = {one["InputName"]: one["S3Input"]["S3Uri"] for one in inputs}
    assert uris["data-imagesTr"] == "s3://brats-bucket/Task01/imagesTr/"
    assert uris["data-dataset-json"] == "s3://brats-bucket/Task01/dataset.json"
    assert all(uri.endswith("/") for name, uri in uris.items() if name != "data-dataset-json")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"role": "foo"}, "role is 'foo'; write its ARN, arn:aws:iam::ACCOUNT:role/NAME."),
        (
            {"train": {"instance_type": "ml.g5.xlarge", "instance_count": 0}},
            "train.instance_count is 0; write 1 or more.",
        ),
        ({"train": {"instance_type": "ml.g5.xlarge", "max_hours": 0}}, "train.max_hours is 0; write more than 0."),
        (
            {"train": {"instance_type": "ml.g5.xlarge", "max_hours": 2, "expected_hours": 5}},
            "train.expected_hours is 5, and train.max_hours stops the job at 2; raise max_hours to 5 or more.",
        ),
        (
            {"train": {"instance_type": "ml.g5.xlarge", "max_hours": float("nan")}},
            "train.max_hours is 'nan' where a num",
        ),
        (
            {"train": {"instance_type": "ml.g5.xlarge", "max_hours": float("inf")}},
            "train.max_hours is 'inf' where a num",
        ),
        (
            {
                "train": None,
                "deploy": {"image": "i", "instance_type": "ml.c5.xlarge", "mode": "batch", "model": "s3://b/m"},
            },
            "deploy.input is 'None'; write s3://BUCKET/PREFIX of the images, or data/imagesTs-like",
        ),
    ],
)
def test_a_value_without_sense_is_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(LaunchError) as error:
        plan_of(**changes)
    assert sentence in str(error.value)


ON_GPU = {"instance_type": "ml.g5.xlarge"}
TO_SERVE = {"instance_type": "ml.g5.xlarge", "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/s:1"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"train": {**ON_GPU, "max_wait_hours": 5}},
            "train.max_wait_hours is 5, and only spot training waits; set tra",
        ),
        ({"train": {**ON_GPU, "configs": []}}, "train.configs is empty; name the bundle's config of a training"),
        ({"train": {**ON_GPU, "keep": []}}, "train.keep is [], which keeps no file, not even the weights; begin with"),
        ({"train": {**ON_GPU, "keep": ["!*.log"]}}, "train.keep is ['!*.log'], which keeps no file"),
        (
            {"train": {**ON_GPU, "channel_knobs": {"output_dir": "store"}}},
            "train.channel_knobs.output_dir is 'store', and train.channels has train; add it there, or correct",
        ),
        (
            {"train": {**ON_GPU, "overrides": {"ckpt_dir": "{channel:weights}/a"}}},
            "train.overrides.ckpt_dir has {channel:weights}, and the job has {channel:code}, {channel:train}; correct",
        ),
        (
            {"train": {**ON_GPU, "overrides": {"ckpt_dir": "{output:a}"}}},
            "train.overrides.ckpt_dir has {output:a}, and the job has no output at all; correct the name.",
        ),
        (
            {"preprocess": {"instance_type": "ml.c5.xlarge", "arguments": ["--to", "{output:stores}"]}},
            "preprocess.arguments[1] has {output:stores}, and the job has {output:store}; correct the name.",
        ),
        (
            {"preprocess": {"instance_type": "ml.c5.xlarge", "module": "scripts.stor"}},
            "preprocess.module is 'scripts.stor', and the bundle",
        ),
        ({"bucket": {"name": "brats-bucket", "prefix": "../b"}}, "bucket.prefix is '../b'; write folders with single"),
        ({"bucket": {"name": "brats-bucket", "prefix": "a//b"}}, "bucket.prefix is 'a//b'; write folders with single"),
        ({"image": {"role": "CodeBuild"}}, "image.role is 'CodeBuild'; write its ARN, arn:aws:iam::ACCOUNT:role/NAME."),
        (
            {"deploy": {**TO_SERVE, "config": "configs/infer.json"}},
            "; did you mean configs/inference.json?",
        ),
        (
            {"deploy": {**TO_SERVE, "config": __file__}},
            f"deploy.config is '{__file__}', which is not among the files of the bundle {BUNDLE} that travel to AWS",
        ),
        # A batch job has no time limit that could be set.
        (
            {"deploy": {**TO_SERVE, "mode": "batch", "max_hours": 3}},
            "deploy.max_hours is not known",
        ),
    ],
)
def test_what_would_fail_or_do_nothing_once_it_is_paid_for_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(LaunchError) as error:
        plan_of(**changes)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_batch_job_has_no_limit_to_expect_less_than() -> None:
    batch = {"mode": "batch", "input": "data/imagesTs", "model": "s3://b/model.tar.gz", "expected_hours": 8}
    assert problems(plan_of(train=None, deploy={**TO_SERVE, **batch})) == []


def test_folders_that_the_job_has_may_be_named() -> None:
    plan = plan_of(
        bucket={"name": "brats-bucket", "prefix": "/team/a/"},
        preprocess={
            "instance_type": "ml.c5.xlarge", "module": "monai.apps", "sharded": ["imagesTr"],
            "arguments": ["{input:data}", "{input:data-imagesTr}", "{output:store}", "{host_index}", "{other:x}"],
        },
        train={**ON_GPU, "overrides": {"ckpt_dir": "{channel:train}/{model}"}, "keep": ["models/*", "!*.log"]},
        deploy={**TO_SERVE, "model": "s3://b/model.tar.gz", "config": "configs/infer.json"},
    )  # fmt: skip
    assert job_of(plan, "code-preprocess")["arguments"][1] == "{input:data-imagesTr}"
    assert plan.folder == f"team/a/runs/{RUN}"


def test_a_part_that_is_not_there_is_named(tiny_decathlon: Path) -> None:
    preprocess = {"instance_type": "ml.c5.xlarge", "sharded": ["imagesTR"], "replicated": ["labelsTr", "dataset.json"]}
    with pytest.raises(LaunchError, match="imagesTR: is not there; correct preprocess.sharded and replicated."):
        plan_of(data={"source": str(tiny_decathlon)}, preprocess=preprocess)


def test_a_runs_id_stays_in_its_folder() -> None:
    with pytest.raises(
        LaunchError, match="the run is called '../../x'; write letters, digits and hyphens, at most 32."
    ):
        make_plan(spec_of(), "../../x")


def test_hidden_folders_stay_and_links_are_followed(tmp_path: Path) -> None:
    for name in ("cases/a.nii.gz", "cases/.git/config", "cases/.hidden", "elsewhere/b.nii.gz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "cases" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "cases" / "loop").symlink_to(tmp_path / "cases")
    (copy,) = plan_of(data={"source": str(tmp_path / "cases")}).copies
    assert [file.name for file in copy.files] == ["a.nii.gz", "more/b.nii.gz"]


def test_the_driver_fits_the_image_that_is_built() -> None:
    deploy = {"instance_type": "ml.g5.xlarge", "model": "s3://b/model.tar.gz"}
    for torch, ami in (("cu126", None), ("cu130", "al2023-ami-sagemaker-inference-gpu-4-1")):
        plan = plan_of(
            train=None, image={"role": "arn:aws:iam::123456789012:role/Build", "torch": torch}, deploy=deploy
        )
        (variant,) = request_of(plan, "CreateEndpointConfig")["ProductionVariants"]
        assert variant.get("InferenceAmiVersion") == ami
