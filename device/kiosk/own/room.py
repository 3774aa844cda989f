"""A person's own page: what is held about them, their last passes, and what they may have done with it.

    /own/state   where it stands: the face, the second proof, or open     /own/begin, prove, leave
    /own/all     everything                                               /own/correct, withdraw, delete

Open only to whoever's face the door has just recognised and who has given a PIN or shown a card besides; it closes
after a minute in which nothing is touched. Nothing of it is cached, logged or kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from device.credentials import pin
from device.door.reasons import entry
from device.enrolment import LONGEST_LABEL
from device.errors import StoreError, TerminalError
from device.kiosk.behind import Behind
from device.kiosk.form import Form, PageRefused
from device.kiosk.own.holding import holding, told
from device.kiosk.own.proof import Presence, has_pin
from device.kiosk.own.right import Receipt, Rights
from device.kiosk.session import Sessions
from device.store.cache import CacheReader

log = logging.getLogger(__name__)
T = TypeVar("T")

IDLE_S = 60.0
ASKING_S = 60.0
TRIES = 5
SHUT_S = 300.0


class OwnRoom:
    """The routes of the page, on the server's thread."""

    def __init__(self, behind: Behind, presence: Presence) -> None:
        self._behind, self._presence = behind, presence
        self._rights = Rights(behind)
        self._asking = Sessions("asking", "/own", ASKING_S, behind.clock)
        self._open = Sessions("own", "/own", IDLE_S, behind.clock)
        self._since_mono = float("-inf")
        self._wrong: dict[str, tuple[int, float]] = {}  # person -> wrong tries, and until when they count

    def routes(self) -> list[Route]:
        return [Route("/own/state", self._state), Route("/own/all", self._all),
                *(Route(f"/own/{name}", act, methods=["POST"]) for name, act in (
                    ("begin", self._begin), ("prove", self._prove), ("leave", self._leave), ("stay", self._stay),
                    ("correct", self._correct), ("withdraw", self._withdraw), ("delete", self._delete)))]

    # --- who it is ------------------------------------------------------------------------------------

    async def _begin(self, request: Request) -> Response:
        """The visitor wants to see their page: from now on a face and a second proof are awaited."""
        (await Form.of(request)).end()
        self._open.end()
        session = self._asking.begin()
        self._since_mono = self._behind.clock.mono()
        return self._asking.given(JSONResponse({"token": session.token}))

    async def _state(self, request: Request) -> Response:
        session = self._open.of(request)
        if session is not None:
            return JSONResponse({"stage": "open", "token": session.token, "left_s": round(self._open.left_s)})
        asking = self._asking.of(request)
        if asking is None:
            return JSONResponse({"stage": "closed"})
        person_id = self._presence.face()
        if not person_id:
            return JSONResponse({"stage": "face", "token": asking.token})
        if self._presence.has_shown_card(person_id, self._since_mono):
            return self._opened(person_id)
        return JSONResponse({"stage": "proof", "token": asking.token, "has_card": self._behind.config.kiosk.card,
                             "pin": [pin.LEAST_DIGITS, pin.MOST_DIGITS]})

    async def _prove(self, request: Request) -> Response:
        self._asking.acting(request)
        form = await Form.of(request)
        digits = form.digits("pin", pin.MOST_DIGITS, pin.LEAST_DIGITS)
        form.end()
        person_id = self._presence.face()
        if not person_id:
            raise PageRefused("nobody is before the camera", "own.no_face", 409)
        if self._is_shut(person_id):
            raise PageRefused("too many wrong tries", "own.shut", 429)
        if not await run_in_threadpool(self._guarded, lambda: self._is_theirs(person_id, digits)):
            self._failed(person_id)
            raise PageRefused("this PIN is not theirs", "own.wrong", 403)
        return self._opened(person_id)

    def _is_theirs(self, person_id: str, digits: str) -> bool:
        reader = CacheReader.open(self._behind.where.gallery_db, self._behind.key)
        try:
            found = has_pin(reader.credentials(person_id), digits)
        finally:
            reader.close()
        if found is not None and found.is_duress:
            self._behind.put(entry("duress", person_id, reader="kiosk"))
        return found is not None

    def _opened(self, person_id: str) -> Response:
        self._wrong.pop(person_id, None)
        self._asking.end()
        session = self._open.begin(person_id)
        return self._open.given(JSONResponse({"stage": "open", "token": session.token,
                                              "left_s": round(self._open.left_s)}))

    def _is_shut(self, person_id: str) -> bool:
        tries, until = self._wrong.get(person_id, (0, float("-inf")))
        return tries >= TRIES and self._behind.clock.mono() < until

    def _failed(self, person_id: str) -> None:
        mono = self._behind.clock.mono()
        self._wrong = {one: kept for one, kept in self._wrong.items() if mono < kept[1]}
        tries = self._wrong.get(person_id, (0, 0.0))[0] + 1
        self._wrong[person_id] = (tries, mono + SHUT_S)
        self._behind.put(entry("own_page_refused", person_id, reader="kiosk", tries=tries))

    async def _stay(self, request: Request) -> Response:
        self._open.acting(request)
        return Response(status_code=204)

    async def _leave(self, request: Request) -> Response:
        (await Form.of(request)).end()
        if self._open.of(request) is not None:
            self._open.end()
        if self._asking.of(request) is not None:
            self._asking.end()
        return Response(status_code=204)

    # --- what is theirs -------------------------------------------------------------------------------

    async def _all(self, request: Request) -> Response:
        person_id = str(self._open.looking(request).person_id)
        found = await run_in_threadpool(self._guarded, lambda: holding(self._behind, person_id))
        if found is None:
            self._open.end()
            raise PageRefused("nothing is held about this person any more", "own.nothing", 410)
        return JSONResponse(told(found) | {"left_s": round(self._open.left_s), "label_most": LONGEST_LABEL})

    async def _correct(self, request: Request) -> Response:
        person_id = str(self._open.acting(request).person_id)
        form = await Form.of(request)
        label = form.text("label", LONGEST_LABEL, least=0)
        form.end()
        return await self._carried_out(lambda: self._rights.correct(person_id, label))

    async def _withdraw(self, request: Request) -> Response:
        return await self._ended(request, self._rights.withdraw)

    async def _delete(self, request: Request) -> Response:
        return await self._ended(request, self._rights.delete)

    async def _ended(self, request: Request, act: Callable[[str], Receipt]) -> Response:
        """What cannot be undone is confirmed in words of its own."""
        person_id = str(self._open.acting(request).person_id)
        form = await Form.of(request)
        is_sure = form.flag("is_sure")
        form.end()
        if not is_sure:
            raise PageRefused("say that it is meant", status=422)
        return await self._carried_out(lambda: act(person_id))

    async def _carried_out(self, act: Callable[[], Receipt]) -> Response:
        done = await run_in_threadpool(self._guarded, act)
        return JSONResponse(asdict(done) | {"at": done.at.isoformat(timespec="seconds")})

    def _guarded(self, act: Callable[[], T]) -> T:
        try:
            return act()
        except PageRefused:
            raise
        except StoreError as error:
            log.error("a person's own page cannot be served: %s", error)
            raise PageRefused("it cannot be read or written now", "page.busy", 503) from None
        except TerminalError as error:
            raise PageRefused(str(error), "page.refused", 422) from None
