"""The picture behind the figures of presentation attack detection. Called by `doorctl evaluate pad --plot`.

A DET curve for each attack species, since an attacker chooses the best one, beside the scores from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from device.errors import UsageError
from device.evaluate.pad import Detection

Doubles = npt.NDArray[np.float64]
BARS = 50


def plot_detection(result: Detection, threshold: float | None, title: str, path: Path) -> None:
    """Write the picture as a PNG; UsageError where it cannot be written.

    threshold  of the passive networks, marked on the scores
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    det, bars = figure.subplots(1, 2)
    for name, scores in result.attacks.items():
        if scores and result.live:
            apcer, bpcer = det_curve(result.live, scores)
            det.step(apcer, bpcer, where="post", marker=".", label=f"{name} ({len(scores)})")
    det.set(xscale="log", yscale="log", xlabel="APCER", ylabel="BPCER", xlim=(None, 1.2), ylim=(None, 1.2),
            title=title)
    det.grid(visible=True, which="both", linewidth=0.3)
    for name, scores in (("bona fide", result.live), *result.attacks.items()):
        share, edges = np.histogram(scores, BARS, (0.0, 1.0))
        bars.stairs(share / max(len(scores), 1), edges, label=f"{name} ({len(scores)})", fill=True, alpha=0.5)
    if threshold is not None:
        bars.axvline(threshold, color="grey", linestyle=":", label=f"threshold {threshold:.2f}")
    bars.set(xlabel="score of the passive networks, 0 where another judge convicts", ylabel="share of presentations",
             xlim=(0.0, 1.0))
    for axes in (det, bars):
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    try:
        figure.savefig(path, dpi=120, format="png")
    except OSError as error:
        raise UsageError(f"--plot {path}: cannot be written ({error.strerror or error})") from None


def det_curve(live: Sequence[float], attacks: Sequence[float]) -> tuple[Doubles, Doubles]:
    """APCER and BPCER at every threshold at which either changes, APCER rising.

    A rate without an error is drawn at half an error, so that perfect separation is a corner and no empty picture.
    """
    thresholds = np.unique(np.concatenate([live, attacks, [np.inf]]))[::-1]
    apcer = 1.0 - np.searchsorted(np.sort(attacks), thresholds, side="left") / len(attacks)
    bpcer = np.searchsorted(np.sort(live), thresholds, side="left") / len(live)
    return np.maximum(apcer, 0.5 / len(attacks)), np.maximum(bpcer, 0.5 / len(live))
