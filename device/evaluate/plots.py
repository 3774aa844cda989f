"""The picture behind the figures: DET curve and score histograms as a PNG. Called by `doorctl evaluate --plot`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from device.errors import UsageError
from device.evaluate.metrics import BINS, LEAST_ERRORS, Counts, Tally, curve

_BARS = 120


def check_plot(path: Path) -> None:
    """UsageError where no picture could be written there, before an hour of work has been done."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise UsageError("--plot needs matplotlib: pip install 'open-door[evaluate]'") from None
    if path.suffix.lower() != ".png":
        raise UsageError(f"--plot {path}: name a file that ends in .png")
    if not path.parent.is_dir():
        raise UsageError(f"--plot {path}: {path.parent} is no folder; make it first")


def plot(scores: Tally, title: str, path: Path, labels: tuple[str, str] = ("FMR", "FNMR"),
         names: tuple[str, str] = ("genuine", "impostor"), axes: tuple[str, str] = (
             "score (cosine)", "share of comparisons")) -> None:
    """Write a DET curve (both rates logarithmic, to where they can be stated) beside the two histograms.

    labels  of the two rates; names of the two kinds of scores; axes of the histograms
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    det, bars = figure.subplots(1, 2)
    fmr, fnmr, _ = curve(scores)
    least = min(LEAST_ERRORS / max(scores.impostor_total, 1), 0.5)
    is_shown = (fmr >= least) & (fnmr > 0)
    lowest = max(float(fnmr[is_shown].min(initial=1.0)) / 2, 1e-6)
    det.step(fmr[is_shown], fnmr[is_shown], where="post")
    det.plot([least, 1], [least, 1], linewidth=0.5, color="grey", linestyle=":")
    det.set(xscale="log", yscale="log", xlabel=labels[0], ylabel=labels[1], xlim=(least, 1), ylim=(lowest, 1),
            title=title)
    det.grid(visible=True, which="both", linewidth=0.3)
    for name, counts in zip(names, (scores.genuine, scores.impostor), strict=True):
        edges, share = _histogram(counts)
        bars.stairs(share, edges, label=f"{name} ({int(counts.sum())})", fill=True, alpha=0.5)
    bars.set(xlabel=axes[0], ylabel=axes[1])
    bars.legend()
    try:
        figure.savefig(path, dpi=120, format="png")
    except OSError as error:
        raise UsageError(f"--plot {path}: cannot be written ({error.strerror or error})") from None


def _histogram(counts: Counts) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]],
                                        np.ndarray[tuple[int], np.dtype[np.float64]]]:
    size = -(-BINS // _BARS)
    padded = np.zeros(size * _BARS)
    padded[:BINS] = counts
    edges = np.linspace(0, size * _BARS, _BARS + 1) / (BINS - 1) * 2 - 1
    return edges, padded.reshape(_BARS, size).sum(axis=1) / max(int(counts.sum()), 1)
