"""The phantom: a SYNTHETIC brain-tumour data set for machines that have no BraTS, made on first use.

The result is an ordinary Decathlon folder, so every reader path is the real one. Figures measured on it mean nothing
clinically. Command: ``python -m scripts.phantom --output DIR``; with ``--kind hard`` or ``mixed`` for patients as
different as those of many hospitals (:mod:`scripts.phantom.hard`), to train a model to start real trainings from.
"""

from scripts.phantom.dataset import HARD, KINDS, MIXED, PARTS, SHAPE, SPACING_MM, VERSION, generate, make_case
from scripts.phantom.words import WORD, WORDS, default_dir, make_once, resolve

__all__ = [
    "HARD", "KINDS", "MIXED", "PARTS", "SHAPE", "SPACING_MM", "VERSION", "WORD", "WORDS", "default_dir", "generate",
    "make_case", "make_once", "resolve",
]  # fmt: skip
