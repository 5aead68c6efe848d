"""What an earlier evaluation left in a folder, taken away before the next: tables and label maps are of one of them."""

from __future__ import annotations

from pathlib import Path

from ignite.engine import Engine, Events

from scripts import distributed

# Of an evaluation's folder and of its label folder, as predictions, uncertainty, origins and report name their files.
RESULTS = ("cases.csv", "cases.json", "summary.json", "worst_case.png", "median_case.png", "best_case.png")
PREDICTIONS = ("*_seg.nii.gz", "*_unc.nii.gz", "uncertainty.csv")
PROBABILITIES = ("*_prob.nii.gz", "probabilities.json")


class RemoveEarlier:
    """Evaluator handler: removes the results and predictions of an earlier evaluation before the first case.

    A run that is broken off then leaves no table that tells of other predictions than those beside it. Files of other
    names stay, and probabilities until others are saved: rules are tuned on them while the evaluations that follow try
    the rules, and the note beside them tells whose they are (:mod:`scripts.origins`).

    Args:
        output_dir: folder of the tables.
        label_dir: folder of the label volumes.
        probabilities: this evaluation saves its own.
    """

    def __init__(self, output_dir: str, label_dir: str, probabilities: bool) -> None:
        replaced = PREDICTIONS + PROBABILITIES if probabilities else PREDICTIONS
        self.folders = {Path(output_dir): RESULTS, Path(label_dir): replaced}

    def attach(self, engine: Engine) -> None:
        """Register at the start of the run."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, _: Engine) -> None:
        """Remove them, on rank 0; the other processes write nothing before."""
        with distributed.rank_zero_first():
            if distributed.rank() == 0:
                for folder, patterns in self.folders.items():
                    for file in (file for pattern in patterns for file in folder.glob(pattern)):
                        file.unlink()
