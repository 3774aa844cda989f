"""Enrolment at the terminal: consent, guided poses, review, and the person is in; where the terminal stands alone, or
a registrar is beside it.

    /enrol/state   where it stands              /enrol/begin   consent given: the booth opens
    /enrol/shot/N  a picture, for the review    /enrol/anew, leave, keep

One enrolment at a time; what was taken goes when it is kept, left, or nobody does anything for two minutes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import cv2
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from device.consent import KINDS, PURPOSES, TEXT, TEXT_VERSION
from device.credentials import pin
from device.door.reasons import entry
from device.enrolment import LONGEST_LABEL, Photo
from device.errors import TerminalError
from device.face.models import Models
from device.face.portrait import Examiner
from device.face.quality import ENROLMENT
from device.kiosk.behind import Behind
from device.kiosk.enrolment.admission import Wish, admit
from device.kiosk.enrolment.booth import Booth, Progress, Stage
from device.kiosk.enrolment.pose import FIRM, POSES
from device.kiosk.form import Form, PageRefused
from device.kiosk.preview import Preview
from device.kiosk.session import Session, Sessions
from device.store.places import is_linked
from device.threads import Worker

log = logging.getLogger(__name__)

IDLE_S = 120.0
MOST_CARD = 64
_FRAME_S = 0.5
_THUMB = 320


class EnrolmentRoom:
    """The routes of enrolment. is_supervised says whether the installer is in, in this browser; newest is the id of
    whoever was enrolled here last."""

    def __init__(self, behind: Behind, preview: Preview, is_supervised: Callable[[Request], bool]) -> None:
        self._behind, self._preview, self._is_supervised = behind, preview, is_supervised
        self._sessions = Sessions("enrolment", "/enrol", IDLE_S, behind.clock)
        self._booth: Booth | None = None
        self._worker: Worker | None = None
        self._is_supervising = False
        self.newest = ""

    @property
    def progress(self) -> Progress | None:
        """Where the enrolment that goes on stands; None where none does. Any thread may ask."""
        booth = self._booth
        return booth.progress if booth is not None and self._sessions.current is not None else None

    def routes(self) -> list[Route]:
        return [Route("/enrol/state", self._state), Route("/enrol/shot/{place:int}", self._shot),
                *(Route(f"/enrol/{name}", act, methods=["POST"]) for name, act in (
                    ("begin", self._begin), ("anew", self._anew), ("leave", self._leave), ("keep", self._keep)))]

    def close(self) -> None:
        """End the booth's thread, and forget the pictures."""
        worker, self._worker, self._booth = self._worker, None, None
        if worker is not None:
            worker.stop()

    async def _state(self, request: Request) -> Response:
        session, booth = self._sessions.of(request), self._booth
        if session is None or booth is None:
            return JSONResponse({"stage": self._closed(request) or "consent", "consent": _consent(),
                                 "retention": self._behind.config.kiosk.retention,
                                 "contact": self._behind.config.kiosk.contact})
        found = booth.progress
        return JSONResponse({"stage": found.stage.value, "place": found.place, "poses": [one.name for one in POSES],
                             "advice": found.advice, "firm": found.firm, "of": FIRM, "token": session.token,
                             "left_s": round(self._sessions.left_s), "is_supervised": self._is_supervising,
                             "label": LONGEST_LABEL, "number": pin.MOST_NUMBER,
                             "pin": [pin.LEAST_DIGITS, pin.MOST_DIGITS]})

    def _closed(self, request: Request) -> str:
        """Why nobody is enrolled here; "" where somebody may be."""
        if is_linked() and self._behind.registrar is None:
            return "hub"
        if self._behind.config.kiosk.enrol == "off":
            return "off"
        if self._behind.config.kiosk.enrol == "supervised" and not self._is_supervised(request):
            return "supervised"
        return "taken" if self._sessions.current is not None else ""

    async def _begin(self, request: Request) -> Response:
        form = await Form.of(request)
        has_agreed, version = form.flag("has_agreed"), form.choice("version", TEXT_VERSION)
        form.end()
        if closed := self._closed(request):
            raise PageRefused(f"nobody is enrolled here now: {closed}", f"enrol.closed_{closed}", 403)
        if not has_agreed:
            raise PageRefused(f"no consent to {version}, no pictures", "enrol.no_consent", 422)
        self._is_supervising = self._is_supervised(request)
        session = self._sessions.begin()
        await run_in_threadpool(self._open, session)
        return self._sessions.given(JSONResponse({"token": session.token}))

    def _open(self, session: Session) -> None:
        self.close()
        card = self._behind.card
        self._booth = Booth(Models.load(card), card, self._behind.config)
        self._worker = Worker("enrolment", lambda worker: self._watch(worker, session), self._behind.clock)
        self._worker.start()

    def _watch(self, worker: Worker, session: Session) -> None:
        """Body of the booth's thread: every frame, until the pictures are taken or the session is over."""
        count = 0
        while not worker.stopping.is_set() and (booth := self._booth) is not None:
            worker.beat()
            if self._sessions.current is not session:
                self._booth = None
                return
            found = self._preview.newest(count, _FRAME_S)
            if found is not None:
                count, frame = found
                stage = booth.progress.stage
                booth.look(frame)
                if booth.progress.stage is not stage:
                    self._sessions.touch()

    async def _shot(self, request: Request) -> Response:
        self._sessions.looking(request)
        photos = self._booth.photos if self._booth is not None else ()
        place = request.path_params["place"]
        if not 0 <= place < len(photos):
            raise PageRefused("there is no such picture", status=404)
        return Response(await run_in_threadpool(_thumb, photos[place]), media_type="image/jpeg")

    async def _anew(self, request: Request) -> Response:
        session = self._sessions.acting(request)
        await run_in_threadpool(self._open, session)
        return Response(status_code=204)

    async def _leave(self, request: Request) -> Response:
        self._sessions.acting(request)
        self._sessions.end()
        await run_in_threadpool(self.close)
        return Response(status_code=204)

    async def _keep(self, request: Request) -> Response:
        self._sessions.acting(request)
        form = await Form.of(request)
        wish = Wish(form.text("label", LONGEST_LABEL), form.digits("number", pin.MOST_NUMBER),
                    form.digits("pin", pin.MOST_DIGITS), form.text("card", MOST_CARD, least=0))
        form.end()
        if self._booth is None or self._booth.progress.stage is not Stage.REVIEW:
            raise PageRefused("the pictures are not taken yet", "page.refused", 409)
        if wish.card and not self._is_supervising:
            raise PageRefused("cards are given out by the installer", "enrol.bad_card", 403)
        told = await run_in_threadpool(self._kept, wish, self._booth.photos)
        self._sessions.end()
        await run_in_threadpool(self.close)
        return JSONResponse(told)

    def _kept(self, wish: Wish, photos: tuple[Photo, ...]) -> dict[str, Any]:
        try:
            examiner = Examiner(Models.load(self._behind.card), ENROLMENT)
            done = admit(self._behind, wish, photos, examiner, self._is_supervising)
        except PageRefused:
            raise
        except TerminalError as error:
            log.error("nobody was enrolled: %s", error)
            raise PageRefused("it could not be stored", "enrol.not_stored", 503) from None
        self.newest = done.person_id
        self._behind.put(entry("enrolled", done.person_id, templates=len(done.template_ids), source="kiosk",
                               supervised=self._is_supervising))
        return {"person_id": done.person_id, "templates": len(done.template_ids), "has_pin": bool(wish.number),
                "has_card": bool(wish.card)}


def _consent() -> dict[str, Any]:
    """The text in both languages, and the catalogue's keys of what it is about."""
    return {"version": TEXT_VERSION, "text": TEXT, "kinds": [f"consent.kind_{place}" for place in range(len(KINDS))],
            "purposes": [f"consent.purpose_{place}" for place in range(len(PURPOSES))]}


def _thumb(photo: Photo) -> bytes:
    """The picture as its owner knows it from a mirror."""
    height, width = photo.pixels.shape[:2]
    size = (_THUMB, max(round(height * _THUMB / width), 1))
    small = cv2.flip(cv2.resize(photo.pixels, size, interpolation=cv2.INTER_AREA), 1)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
