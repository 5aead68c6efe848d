"""What AWS refuses or bills for nothing and its API model doesn't say: one small function a rule, over a whole plan.

A rule yields one sentence a violation and stops the plan; advice yields sentences that the user should read before
paying. docs/rules.md lists them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sm_launch.rules_distributed import (
    image_region,
    monai_needs_newer_torch,
    more_processes_than_gpus,
    nccl_is_better,
    no_efa,
    processes_without_gpus,
    smddp_image,
    smddp_type,
)
from sm_launch.rules_fsx import (
    file_system_access,
    file_system_directory,
    file_system_import,
    file_system_processing,
    file_system_size,
    file_system_subnet,
    file_system_throughput,
)
from sm_launch.rules_serving import (
    realtime_limits,
    scale_from_zero,
    scale_to_zero,
    serverless_limits,
    serverless_memory,
    transform_payload,
    transform_payload_default,
    variant_machines,
)
from sm_launch.rules_storage import (
    arn_region,
    bucket_name,
    bucket_region,
    bundle_tables,
    file_names,
    hardware_encrypts,
    local_disk_size,
    own_tags,
    processing_paths,
    unique_names,
    volume_key,
)
from sm_launch.rules_training import (
    channel_names,
    isolated_install,
    longest_run,
    metric_regex,
    package_lines,
    spot_checkpoint,
    spot_only_wait,
    spot_wait,
    warm_pool_groups,
    warm_pool_length,
    warm_pool_spot,
)
from sm_launch.rules_tuning import hyperband_stopping, tuning_objective, tuning_parallel, tuning_warm_pool
from sm_launch.steps import Plan

Check = Callable[[Plan], Iterator[str]]


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        check: yields a sentence for each violation in a plan.
    """

    check: Check

    @property
    def name(self) -> str:
        """The rule's name in docs/rules.md."""
        return self.check.__name__.replace("_", "-")

    @property
    def about(self) -> str:
        """What it asks for, in one sentence."""
        return " ".join((self.check.__doc__ or "").split("\n\n")[0].split())


RULES: tuple[Rule, ...] = tuple(
    Rule(check)
    for check in (
        longest_run,
        spot_wait,
        spot_only_wait,
        spot_checkpoint,
        warm_pool_spot,
        warm_pool_groups,
        warm_pool_length,
        metric_regex,
        channel_names,
        isolated_install,
        package_lines,
        tuning_objective,
        tuning_parallel,
        hyperband_stopping,
        tuning_warm_pool,
        volume_key,
        local_disk_size,
        processing_paths,
        unique_names,
        own_tags,
        bucket_name,
        bucket_region,
        arn_region,
        image_region,
        processes_without_gpus,
        more_processes_than_gpus,
        smddp_type,
        smddp_image,
        monai_needs_newer_torch,
        file_system_size,
        file_system_throughput,
        file_system_import,
        file_system_subnet,
        file_system_directory,
        file_system_access,
        file_system_processing,
        variant_machines,
        serverless_memory,
        serverless_limits,
        scale_to_zero,
        transform_payload,
    )
)
ADVICE: tuple[Rule, ...] = tuple(
    Rule(check)
    for check in (
        nccl_is_better,
        no_efa,
        hardware_encrypts,
        file_names,
        bundle_tables,
        realtime_limits,
        scale_from_zero,
        transform_payload_default,
    )
)


def check(plan: Plan) -> list[str]:
    """Violations of the rules, one sentence each; empty where the plan may go on."""
    return [sentence for rule in RULES for sentence in rule.check(plan)]


def advice(plan: Plan) -> list[str]:
    """Sentences to read before paying; they stop nothing."""
    return [sentence for rule in ADVICE for sentence in rule.check(plan)]
