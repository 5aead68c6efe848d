"""The command line: plan, apply, local, follow, predict, results, ls, down, policy and quotas."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sm_launch.errors import LaunchError

EXIT_BAD_INPUT = 1
EXIT_INTERRUPTED = 130
LONGEST_PAUSE = 3600.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    # One line a request of boto3's own would bury ours.
    logging.getLogger("botocore").setLevel(logging.WARNING)
    try:
        module, _, name = options.run.partition(".")
        code = getattr(importlib.import_module(f"sm_launch.{module}"), name)(options) or 0
        # Else little output would be written, and fail, after this function.
        sys.stdout.flush()
        return code
    except LaunchError as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_BAD_INPUT
    except BrokenPipeError:
        # Whoever read the output has closed it, as 'head' does; what is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BAD_INPUT
    except OSError as error:
        # A folder of the user's that cannot be written, or a disk that is full.
        sys.stderr.write(f"error: {error.filename or 'a file'}: {error.strerror or error}; choose another place.\n")
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        sys.stderr.write("stopped by the user; what was made is in the run's manifest, see 'sm_launch ls'\n")
        return EXIT_INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """The commands and their flags."""
    root = argparse.ArgumentParser(prog="sm_launch", description="Take any MONAI Bundle to Amazon SageMaker.")
    commands = root.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: str, text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        one.set_defaults(run=run)
        return one

    def spec(one: argparse.ArgumentParser) -> None:
        one.add_argument("spec", type=Path, help="YAML file, see sm_launch/specs")
        one.add_argument(
            "--jobs", default="", help="comma-separated jobs of the spec: preprocess,train,tune,image,deploy"
        )
        one.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="train.spot=true-like change")
        one.add_argument("--run", dest="run_id", help="id of the run (default: the spec's name and the time)")

    def account(one: argparse.ArgumentParser) -> None:
        one.add_argument("--aws-profile", help="profile of your AWS configuration")

    def waiting(one: argparse.ArgumentParser) -> None:
        one.add_argument("--poll", type=_pause, default=10.0, metavar="SECONDS", help="pause between two looks")

    plan = command(
        "plan", "commands_plan.show_plan", "show what would be uploaded, asked of AWS and paid; calls nothing"
    )
    spec(plan)
    plan.add_argument("--json", action="store_true", help="exact requests, uploads with checksums, IAM policies")
    plan.add_argument(
        "--live-prices", action="store_true", help="ask AWS's Price List (this one call needs credentials)"
    )
    account(plan)
    policy = command(
        "policy", "commands_plan.show_policy", "print the least-privilege IAM policies of a plan; calls nothing"
    )
    spec(policy)
    quotas = command(
        "quotas", "commands_plan.show_quotas", "compare the service quotas of the account with what a plan needs"
    )
    spec(quotas)
    account(quotas)
    apply = command("apply", "commands_run.apply_plan", "print the plan, ask, and carry it out")
    spec(apply)
    apply.add_argument("--yes", action="store_true", help="do not ask")
    apply.add_argument("--no-quotas", action="store_true", help="do not look at the account's service quotas first")
    apply.add_argument("--detach", action="store_true", help="do not follow the last job")
    account(apply)
    waiting(apply)
    local = command(
        "local", "commands_run.run_local", "run the same requests on this machine, without AWS and without docker"
    )
    spec(local)
    local.add_argument("--work-dir", type=Path, default=Path("sm_local"), help="folder of all that it makes")
    follow = command("follow", "commands_run.follow_run", "show status, logs and metrics of a run's jobs")
    follow.add_argument("run_id", help="id of the run, or its manifest file")
    account(follow)
    waiting(follow)
    results = command(
        "results", "commands_state.show_results", "table of a tuning job's trials; the best as an override file"
    )
    results.add_argument("run_id", help="id of the run, or its manifest file")
    results.add_argument("--best", type=Path, help="write the best trial's overrides to this JSON file")
    account(results)
    predict = command(
        "predict", "commands_state.predict_cases", "send a folder of cases to a run's endpoint or batch job"
    )
    predict.add_argument("run_id", help="id of the run, or its manifest file")
    predict.add_argument("cases", type=Path, help="folder of images, or of a folder a case")
    predict.add_argument("output", type=Path, help="folder of the answers")
    predict.add_argument("--yes", action="store_true", help="do not ask")
    account(predict)
    waiting(predict)
    ls = command(
        "ls", "commands_state.list_runs", "runs of this machine, what is left of them, and what they cost so far"
    )
    account(ls)
    down = command("down", "commands_state.take_down", "delete all that a run made, verify, and say what still costs")
    down.add_argument("run_id", help="id of the run, or its manifest file")
    down.add_argument("--yes", action="store_true", help="do not ask")
    down.add_argument("--files", action="store_true", help="also delete the run's files in S3, its model included")
    account(down)
    waiting(down)
    return root


def _pause(text: str) -> float:
    """Seconds between two looks: what cannot be slept would end the command in the middle, while the job bills."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST_PAUSE:
        raise argparse.ArgumentTypeError(
            f"is '{text}'; write seconds above 0 and at most {LONGEST_PAUSE:.0f}, such as 10."
        )
    return seconds
