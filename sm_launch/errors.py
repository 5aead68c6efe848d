"""The one error that a user may see: a sentence that names what was found, what was wanted and the next step."""

from __future__ import annotations


class LaunchError(Exception):
    """Bad input, or an answer of AWS that stops the work; the command line prints it without a traceback."""
