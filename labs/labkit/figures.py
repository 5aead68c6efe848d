"""Matplotlib figures in a lab: one way to show them, with words for those who cannot see them."""

from __future__ import annotations

import io

import matplotlib.pyplot as plt
from IPython.display import Image, display
from matplotlib.figure import Figure

DPI = 100
# Beside the palette of scripts.figures: what is not in question.
GREY = "#666666"


def show(figure: Figure, alt: str) -> None:
    """Show a figure and close it.

    Args:
        figure: what to show.
        alt: what it shows, in a sentence; screen readers and pages without pictures use it.

    Raises:
        ValueError: ``alt`` is empty.
    """
    if not alt.strip():
        raise ValueError("a figure without words for those who cannot see it; write alt.")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight", facecolor="white")
    plt.close(figure)
    display(Image(buffer.getvalue(), format="png", alt=alt), metadata={"image/png": {"alt": alt}})
