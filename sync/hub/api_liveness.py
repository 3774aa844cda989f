"""The API's routes for video liveness."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, UploadFile
from pydantic import BaseModel

from device.face.pad.action import PROMPTS
from sync.hub.api_access import TheHub, needs

routes = APIRouter(tags=["liveness"], dependencies=[needs("write")])


class LivenessSession(BaseModel):
    """What is to be done, in this order, and the words to ask for it; once, and until that time."""

    session_id: str
    code: list[str]
    until: datetime
    say: dict[str, list[str]]


class LivenessVerdict(BaseModel):
    """judges: 0 (attack) to 1, null where a judge had nothing to say; likeness: -1 to 1, null without a photo."""

    is_live: bool
    reason: str
    code: list[str]
    done: list[str]
    frames: int
    judges: dict[str, float | None]
    likeness: float | None


@routes.post("/liveness/sessions", status_code=201)
def open_session(hub: TheHub) -> LivenessSession:
    """A random code of actions, valid for five minutes and used once."""
    session = hub.liveness.open()
    return LivenessSession(session_id=session.session_id, code=[action.value for action in session.code],
                           until=session.until, say={language: [PROMPTS[action].text(language)
                                                                for action in session.code]
                                                     for language in ("en", "zh")})


@routes.post("/liveness/sessions/{session_id}/clip")
def judge_clip(hub: TheHub, session_id: Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")],
               clip: UploadFile, photo: UploadFile | None = None) -> LivenessVerdict:
    """Whether the clip shows one live person who does what the session's code asks; with a photo also whether that is
    the person of the photo, so that it may be enrolled. Neither is kept."""
    found = hub.liveness.judge(session_id, clip.filename or "", clip.file.read(),
                               photo.file.read() if photo is not None else None)
    return LivenessVerdict(is_live=found.is_live, reason=found.reason, code=list(found.code), done=list(found.done),
                           frames=found.frames, judges=found.judges, likeness=found.likeness)
