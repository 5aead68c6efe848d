"""Lab 05's and 08's tables are what sm_launch plans."""

from __future__ import annotations

import pytest
from labkit import launch_plans
from labkit.costs import priced_region
from labkit.launch_plans import SPECS, plan_of


def test_trainings_differ_in_machines_launcher_and_backend() -> None:
    rows = {row[0]: row for row in launch_plans.training_table(["many_gpus.yaml", "smddp.yaml", "fsdp.yaml"]).rows}
    assert rows["many_gpus.yaml"][1] == "2 x ml.g5.12xlarge" and rows["many_gpus.yaml"][3] == "torchrun"
    assert rows["smddp.yaml"][3:5] == ["smddprun", "smddp"] and "2.4.1" in rows["smddp.yaml"][2]
    assert rows["fsdp.yaml"][5].endswith("multi_gpu_train.json, fsdp_train.json")


def test_a_tuning_job_is_the_search_file() -> None:
    plan = plan_of(SPECS / "tune.yaml", jobs=["tune"])
    rows = dict(launch_plans.tuning_table(plan).rows)
    assert rows["MaxNumberOfTrainingJobs"] == "12" and rows["a trial's ceiling"] == "4 h"
    assert rows["Continuous: learning_rate"] == "0.0003 to 0.01, Logarithmic"
    assert rows["Categorical: loss"] == "DiceBCELoss | DiceLoss | DiceFocalLoss"
    # 12 trials of 4 h on ml.g5.2xlarge.
    assert launch_plans.cost(plan).high == pytest.approx(12 * 4 * 1.515, rel=0.01)


def test_a_region_without_prices_is_shown_at_those_of_the_default() -> None:
    plan, usual = (plan_of(SPECS / "one_gpu.yaml", changes=made) for made in (["region=eu-central-1"], []))
    assert launch_plans.cost(plan).high is None
    assert launch_plans.cost(plan, priced_region("eu-central-1")).high == launch_plans.cost(usual).high
    assert [priced_region(name) for name in ("us-west-2", "eu-central-1")] == ["us-west-2", "us-east-1"]
