"""The consent without which no face is enrolled: the text a person agrees to, and the record of it.

Used by `doorctl enrol` on a stand-alone terminal; a fleet's hub keeps its own texts and hands over the record.
"""

from __future__ import annotations

import secrets

from device.clock import Clock
from device.store.records import Consent

TEXT_VERSION = "stand-alone-1"
KINDS = ("face picture (used once, not kept)", "face template", "name", "access events")
PURPOSES = ("opening this door", "the record of who passed")

TEXT = {
    "en": (
        "I agree that this terminal computes a template from my face picture, keeps the template and my name sealed "
        "on this terminal, compares faces at this door with it, and records when I was let in or refused. "
        "The picture itself is not kept. I can withdraw at any time: my template and name are then deleted for good. "
        "I know that there is another way in than my face."
    ),
    "zh": (
        "我同意本终端用我的人脸照片计算特征值，并将特征值与姓名加密保存在本终端，用于在此门比对人脸，"
        "并记录我的通行或被拒时间。照片本身不保存。我可随时撤回同意，届时特征值与姓名将被彻底删除。"
        "我已知晓除人脸外还有其他通行方式。"
    ),
}


def record_consent(clock: Clock, means: str) -> Consent:
    """A new record that consent to the present text was given just now; `means` says how (e.g. paper, screen)."""
    return Consent(
        consent_id=secrets.token_hex(16),
        text_version=TEXT_VERSION,
        kinds=KINDS,
        purposes=PURPOSES,
        given_at=clock.now(),
        means=means,
    )
