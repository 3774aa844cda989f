"""The picture behind the figures: DET curve and score histograms as a PNG. Called by `doorctl evaluate --plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from device.errors import UsageError
from device.evaluate.metrics import BINS, LEAST_ERRORS, Counts, Tally, at_or_above, curve

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
    is_new = not path.exists()
    try:
        path.open("ab").close()
        if is_new:
            path.unlink()
    except OSError as error:
        raise UsageError(f"--plot {path}: cannot be written ({error.strerror or error})") from None


def plot(scores: Tally, title: str, path: Path, labels: tuple[str, str] = ("FMR", "FNMR"),
         names: tuple[str, str] = ("genuine", "impostor"), axes: tuple[str, str] = (
             "score (cosine)", "share of comparisons")) -> None:
    """Write a DET curve (both rates logarithmic, to where they can be stated) beside the two histograms.

    labels  of the two rates; names of the two kinds of scores; axes of the histograms
    """
    figure, det, bars = _sheet()
    fmr, fnmr, _ = curve(scores)
    least = min(LEAST_ERRORS / max(scores.impostor_total, 1), 0.5)
    is_shown = (fmr >= least) & (fnmr > 0)
    lowest = max(float(fnmr[is_shown].min(initial=1.0)) / 2, 1e-6)
    det.step(fmr[is_shown], fnmr[is_shown], where="post")
    det.plot([least, 1], [least, 1], linewidth=0.5, color="grey", linestyle=":")
    det.set(xscale="log", yscale="log", xlabel=labels[0], ylabel=labels[1], xlim=(least, 1), ylim=(lowest, 1),
            title=title)
    det.grid(visible=True, which="both", linewidth=0.3)
    _bars(bars, scores, names, axes)
    _save(figure, path)


def plot_finds(scores: Tally, faces: int, images: int, title: str, path: Path) -> None:
    """Write the share of marked faces missed over the false finds per picture, at every score of the detector (FROC),
    beside the histograms of both kinds of finds.

    faces   that were marked; images  in which false finds were counted
    """
    figure, froc, bars = _sheet()
    false = at_or_above(scores.impostor) / max(images, 1)
    missed = 1.0 - at_or_above(scores.genuine) / max(faces, 1)
    froc.step(false, missed, where="post")
    froc.set(xlabel="false finds per picture", ylabel="share of marked faces missed", ylim=(0, 1), title=title)
    froc.set_xlim(left=0)
    froc.grid(visible=True, linewidth=0.3)
    _bars(bars, scores, ("marked faces", "false finds"), ("score of the detector", "share of finds"))
    _save(figure, path)


def _sheet() -> tuple[Any, Any, Any]:
    """(figure, left, right)"""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    return figure, left, right


def _bars(bars: Any, scores: Tally, names: tuple[str, str], axes: tuple[str, str]) -> None:
    for name, counts in zip(names, (scores.genuine, scores.impostor), strict=True):
        edges, share = _histogram(counts)
        bars.stairs(share, edges, label=f"{name} ({int(counts.sum())})", fill=True, alpha=0.5)
    bars.set(xlabel=axes[0], ylabel=axes[1])
    bars.legend()


def _save(figure: Any, path: Path) -> None:
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
