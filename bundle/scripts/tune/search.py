"""Searches hyper-parameters: many trainings of train.json, on this machine or on a Ray cluster.

    python -m scripts.tune --search configs/search/lr_batch_loss.json

Experiment parallel: a trial is one process, and as many trials run at a time as there are CPUs or GPUs for.
Data parallel: --workers_per_trial N gives every trial N processes. Both at once, where the machine has room for several
trials of several workers. docs/search.md tells more.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.credentials import refuse_credentials
from scripts.errors import InputError, one_sentence
from scripts.files import read_json, write_json
from scripts.tune.config import (
    PARALLEL,
    TRAIN,
    as_override,
    merged,
    prepare,
    refuse_bad_trials,
    refuse_unknown,
    split,
    trial_overrides,
)
from scripts.tune.figure import plot_search
from scripts.tune.folder import claim, refuse_other_search
from scripts.tune.results import BEST_FILE, CSV_FILE, PICTURE_FILE, Progress, collect, table, write_csv
from scripts.tune.space import Search, draw, read_search
from scripts.tune.trial import OVERRIDES_FILE, Plan

INSTALL = 'pip install "ray[tune,train]"'


def require_ray() -> Any:
    """The module that talks to Ray.

    Raises:
        InputError: Ray Tune is not installed.
    """
    try:
        from scripts.tune import cluster
    except ImportError as error:
        raise InputError(f"a search needs Ray Tune ({error}); install it by: {INSTALL}") from error
    return cluster


def run_search(options: argparse.Namespace, show: Callable[[str], None]) -> list[dict[str, Any]]:
    """Run a search, or the rest of one, and write its results.

    Args:
        options: of :func:`options_parser`.
        show: called with each line for the user.

    Returns:
        The rows of :func:`scripts.tune.results.collect`, best first.

    Raises:
        InputError: an option, the search file or the data are unusable, or no trial has a score.
    """
    root = Path(options.bundle_root).resolve()
    search = with_options(read_search(_search_file(options.search, root)), options)
    trials = draw(search)[: options.max_trials]
    out = Path(options.output_dir or root / "runs" / f"search_{search.name}").resolve()
    ray = require_ray()
    config = merged(root, search.configs, search.overrides)
    refuse_unknown(config, search.space)
    refuse_credentials(config.get())
    refuse_credentials(search.space)
    refuse_bad_trials(root, config, [recipe(search, values) for values in trials])
    refuse_other_search(out, search, options)
    cases = split(config, out, options.dataset_dir)
    claim(out, search, options)
    datalist = prepare(config, out, cases)
    with ray.cluster(options.address, options.num_cpus, root):
        gpus = ray.check_resources(options.workers_per_trial, options.cpus_per_worker, options.gpus_per_worker)
        plans = make_plans(search, trials, root, out, datalist, options, gpus)
        show(
            f"search {search.name}: {len(trials)} trials of {search.epochs} epochs, {options.workers_per_trial} "
            f"process{'es' * (options.workers_per_trial > 1)} each; folder {out}"
        )
        ray.run(search, plans, out, options.max_concurrent, Progress(plans, trials, search.metric, search.mode, show))
    rows = collect(plans, trials, search.metric, search.mode)
    show("\n" + table(rows, search.metric))
    write_csv(rows, search.metric, out / CSV_FILE)
    if rows[0]["best"] is None:
        raise InputError(f"{out}: no trial has a score; the first one {rows[0]['status']}: {rows[0]['reason']}")
    plot_search(rows, search.metric, out / PICTURE_FILE)
    write_json(out / BEST_FILE, as_override(root, search.configs, recipe(search, rows[0]["values"])))
    show(f"\nbest: {rows[0]['trial']}, {search.metric} {rows[0]['best']:.4f}; to train with it again:")
    show(f"  {training_command(out / BEST_FILE, options)}")
    show(f"all trials: {out / CSV_FILE} and {PICTURE_FILE}")
    return rows


def with_options(search: Search, options: argparse.Namespace) -> Search:
    """The search with what the command line says otherwise.

    Raises:
        InputError: an override is not of the form knob=value, or also a knob of the space.
    """
    overrides = dict(search.overrides)
    for text in options.override:
        knob, sign, value = text.partition("=")
        if not sign:
            raise InputError(f"--override {text}: has no '='; write knob=value, as --override epochs=2.")
        try:
            overrides[knob] = json.loads(value)
        except ValueError:
            overrides[knob] = value
    both = [knob for knob in overrides if knob in search.space]
    if both:
        raise InputError(f"'{both[0]}' is searched and overridden at once; take it out of one of the two.")
    return dataclasses.replace(
        search, overrides=overrides, epochs=options.epochs or search.epochs,
        num_samples=options.num_samples or search.num_samples, configs=[*search.configs, *options.config],
    )  # fmt: skip


def make_plans(
    search: Search,
    trials: Sequence[Mapping[str, Any]],
    root: Path,
    out: Path,
    datalist: Path,
    options: argparse.Namespace,
    gpus: float,
) -> list[Plan]:
    """What to run for every trial; writes the override file into each trial's folder."""
    split = read_json(datalist, "datalist")
    parallel = [PARALLEL] if options.workers_per_trial > 1 else []
    plans = []
    for index, values in enumerate(trials):
        folder = out / "trials" / f"trial_{index:03d}"
        write_json(folder / OVERRIDES_FILE, trial_overrides(folder, recipe(search, values), split, datalist))
        files = (TRAIN, *search.configs, *parallel, (folder / OVERRIDES_FILE).as_posix())
        plans.append(
            Plan(
                name=folder.name,
                folder=str(folder),
                bundle_root=str(root),
                config_files=files,
                epochs=search.epochs,
                metric=search.metric,
                workers=options.workers_per_trial,
                cpus=options.cpus_per_worker,
                gpus=gpus,
            )  # fmt: skip
        )
    return plans


def recipe(search: Search, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a trial overrides, but for its folders."""
    return {**search.overrides, **values, "epochs": search.epochs}


def training_command(best: Path, options: argparse.Namespace) -> str:
    """The command line, typed in the bundle, of a training like the search's trials."""
    workers = options.workers_per_trial
    start = "python" if workers == 1 else f"torchrun --standalone --nproc_per_node={workers}"
    # The best trial may bring a loader of its own, to which the overlay adds the samplers.
    files = [TRAIN, best.as_posix(), *([PARALLEL] if workers > 1 else [])]
    data = f" --dataset_dir {shlex.quote(options.dataset_dir)}" if options.dataset_dir else ""
    return f'{start} -m monai.bundle run --config_file "{files}"{data}'


def _search_file(name: str, root: Path) -> Path:
    """The search file, relative to the current folder or to the bundle."""
    return root / name if (root / name).is_file() else Path(name)


def options_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.tune", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--search", required=True, help="search file, as configs/search/lr_batch_loss.json")
    add("--bundle_root", default=".", help="folder of configs/ and scripts/ (default: here)")
    add("--dataset_dir", help="folder of the data, or phantom (default: the config's own)")
    add("--output_dir", help="folder of the search (default: runs/search_NAME in the bundle)")
    add("--resume", choices=("auto", "never"), default="auto", help="go on with a search that was interrupted")
    add("--epochs", type=_positive, help="of every trial, instead of the file's")
    add("--num_samples", type=_positive, help="trials of a random search, instead of the file's")
    add("--max_trials", type=_positive, help="run only the first of the trials")
    add("--config", action="append", default=[], metavar="FILE", help="another config over train.json; may be repeated")
    add("--override", action="append", default=[], metavar="KNOB=VALUE", help="for all trials; may be repeated")
    add("--workers_per_trial", type=_positive, default=1, help="processes of a trial (default: 1)")
    add("--cpus_per_worker", type=float, default=1, help="CPUs, and threads, of a process (default: 1)")
    add("--gpus_per_worker", type=float, help="GPUs of a process; 0.5 lets two share one (default: 1 if there are any)")
    add("--max_concurrent", type=_positive, help="trials at a time (default: as many as fit)")
    add("--num_cpus", type=_positive, help="CPUs that Ray may use on this machine (default: all)")
    add("--address", help="host:port of an existing Ray cluster, or auto")
    return parser


def _positive(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"is {text}; give a whole number of 1 or more")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = options_parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")

    def command() -> int:
        run_search(options, lambda line: print(line, flush=True))
        return 0

    return one_sentence(command)
