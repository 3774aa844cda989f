"""From picture files to templates and probes, exactly as at the door: called by every evaluation.

One picture gives at most one face. A picture from which no vector comes is a failure to acquire; one that cannot be
read is left out with a remark. The quality gates of the door make it look again at the next frame, and a still has
no next frame: so by default the pictures that the gates refuse are counted and used all the same, the hard ones
among them, and with `uses_gates` they too are failures to acquire.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device.commands.console import with_progress
from device.errors import PictureRefused
from device.evaluate.allpairs import Bools
from device.evaluate.inputs import Remarks
from device.evaluate.metrics import Scores
from device.face.photo import read_photo
from device.face.portrait import Examiner, Finding
from device.face.types import Floats
from device.frame import Pixels

# Two: the networks release the interpreter's lock, and boards with one free core lose nothing by it.
WORKERS = 2
# A face of at least this share of the largest one's area is as near to the camera as that one. Measured on the
# development half of LFW, where the subject is the face in the middle: always the largest face gives 0.988 of the
# pairs right, of those with half its area the one nearest the middle 0.993, the same as always the middle one.
AS_LARGE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What one picture's face gave: vectors, or None where the recogniser gave none, and the gates that it fails."""

    template: Floats | None
    probe: Floats | None
    refused_by: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        return self.template is not None and self.probe is not None


@dataclass(frozen=True, slots=True, eq=False)
class Acquired:
    """What the pictures gave, in the order of `names`.

    names        pictures that could be read
    templates    n×D float32 at unit length, zero where no face was acquired: what enrolment would store, of two
                 passes always
    probes       the same for a fresh probe: the same vectors, or those of one pass
    is_acquired  whether one was
    refused      how many pictures a gate of the door refuses, or have no face
    reasons      how often each gate, "no_face" or "no_vector" was the reason
    """

    names: tuple[str, ...]
    templates: Scores
    probes: Scores
    is_acquired: Bools
    refused: int
    reasons: dict[str, int]

    @property
    def rows(self) -> dict[str, int]:
        """Row of each name."""
        return {name: row for row, name in enumerate(self.names)}

    @property
    def failures(self) -> int:
        return int((~self.is_acquired).sum())

    @property
    def fta(self) -> float:
        """Share of readable pictures from which no face was acquired."""
        return self.failures / len(self.names) if self.names else 0.0


def acquire(names: Sequence[str], root: Path, make_examiner: Callable[[], Examiner], dimensions: int, *,
            remarks: Remarks, uses_gates: bool = False, mirror: bool = True) -> Acquired:
    """Look at each picture once, on two threads with an examiner each.

    mirror  whether probes too are of two passes, as with face.mirror
    """
    readable: list[tuple[str, Seen | None]] = []
    for name, seen in zip(names, _look(names, root, make_examiner, mirror), strict=True):
        if isinstance(seen, PictureRefused):
            remarks.miss(name, str(seen).removeprefix(f"{Path(name).name}: "))
        else:
            readable.append((name, seen))
    if not readable:
        raise PictureRefused("not one of the pictures could be read; check --images")
    templates, probes = (np.zeros((len(readable), dimensions), np.float32) for _ in range(2))
    is_acquired = np.zeros(len(readable), np.bool_)
    reasons: Counter[str] = Counter()
    refused = 0
    for row, (_, seen) in enumerate(readable):
        why = _why_not(seen)
        refused += bool(why)
        reasons.update(why)
        if seen is not None and seen.is_whole and not (why and uses_gates):
            templates[row], probes[row], is_acquired[row] = seen.template, seen.probe, True
    return Acquired(tuple(name for name, _ in readable), templates, probes, is_acquired, refused,
                    dict(reasons.most_common()))


def _why_not(seen: Seen | None) -> tuple[str, ...]:
    """Why the door would not use that face of this picture; empty where it would."""
    if seen is None:
        return ("no_face",)
    return seen.refused_by if seen.is_whole else ("no_vector",)


def choose(findings: Sequence[Finding], width: int, height: int) -> Finding | None:
    """The face that a still is about: the largest, and of several about as large the one nearest the middle."""
    if not findings:
        return None
    largest = max(finding.face.box.area for finding in findings)
    return min((finding for finding in findings if finding.face.box.area >= AS_LARGE * largest),
               key=lambda finding: _off_centre(finding, width, height))


def _off_centre(finding: Finding, width: int, height: int) -> float:
    box = finding.face.box
    return float(np.hypot(box.left + box.width / 2 - width / 2, box.top + box.height / 2 - height / 2))


def _look(names: Sequence[str], root: Path, make_examiner: Callable[[], Examiner],
          mirror: bool) -> list[Seen | PictureRefused | None]:
    mine = threading.local()

    def look(name: str) -> Seen | PictureRefused | None:
        try:
            pixels = read_photo(root / name)
        except PictureRefused as error:
            return error
        if not hasattr(mine, "examiner"):
            mine.examiner = make_examiner()
        return _seen(mine.examiner, pixels, mirror)

    with ThreadPoolExecutor(WORKERS, thread_name_prefix="look") as pool:
        return list(with_progress("pictures", pool.map(look, names), len(names)))


def _seen(examiner: Examiner, pixels: Pixels, mirror: bool) -> Seen | None:
    finding = choose(examiner.survey(pixels), pixels.shape[1], pixels.shape[0])
    if finding is None:
        return None
    template = examiner.vector(pixels, finding.face, mirror=True)
    probe = template if mirror else examiner.vector(pixels, finding.face, mirror=False)
    return Seen(template, probe, finding.quality.reasons)
