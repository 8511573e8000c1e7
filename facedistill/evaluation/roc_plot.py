"""The ROC curves of an evaluation as an image file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from facedistill.errors import UsageError
from facedistill.evaluation.report_page.curves import roc_picture
from facedistill.evaluation.verification import VerificationResult
from facedistill.files import write_atomically


def check_plot_path(path: Path) -> None:
    """Raise UsageError where the suffix of `path` is none that matplotlib writes; to be called before the work."""
    if _kind(path) not in FigureCanvasAgg(Figure()).get_supported_filetypes():
        raise UsageError(f"a plot cannot be written as '{path.suffix}'", place=path, next_step="Use .png, .svg or .pdf")


def plot_roc(results: Sequence[VerificationResult], path: Path) -> None:
    """Draw the ROC of each result, from the lowest FAR that its pairs resolve, with the reported points marked.

    Raises:
        UsageError: the suffix of `path` is no image format that matplotlib writes.
    """
    check_plot_path(path)
    write_atomically(path, roc_picture(results).render(_kind(path)))


def _kind(path: Path) -> str:
    return path.suffix.lower().lstrip(".")
