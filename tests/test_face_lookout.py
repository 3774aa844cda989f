"""What follows faces from frame to frame, where they move faster than their landmarks can."""

from __future__ import annotations

import numpy as np
import pytest
from pad_scenes import views
from rehearsal_samples import models

from device.rehearsal.scenes import held_up


@pytest.mark.parametrize(("size", "fps"), [((640, 480), 20.0), ((1280, 720), 20.0), ((640, 480), 30.0)])
def test_landmarks_that_a_raised_picture_carried_off_are_set_anew(size: tuple[int, int], fps: float) -> None:
    last = list(views(held_up("print-a4"), 0.9, 0.2, fps, size))[-1]
    found = models().finder.find(last.frame.pixels)[0]
    gap = float(np.hypot(*(found.keypoints[1] - found.keypoints[0])))
    off = (last.face.keypoints[:2] - found.keypoints[:2]).mean(axis=0)
    assert float(np.hypot(*off)) < 0.3 * gap
