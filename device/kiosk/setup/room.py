"""The installer's page: who may enter it, and what it shows of this door. What it changes is in `acts`.

    /setup/state  who is in, and how long still   /setup/enter, stay, leave   the setup PIN and the session
    /setup/live   meters, wires, how all is       /setup/picture              what the camera sees, not mirrored
    /setup/past   the last events                 /setup/claim, label         serial and code, as words and QR
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from device.credentials import pin as pins
from device.door.reasons import entry
from device.errors import StoreError
from device.kiosk.behind import Behind
from device.kiosk.form import Form, PageRefused
from device.kiosk.pictures import pictures
from device.kiosk.preview import Preview
from device.kiosk.session import Sessions
from device.kiosk.setup import tie
from device.kiosk.setup.meters import FocusMeter, light
from device.kiosk.setup.network import network
from device.kiosk.setup.pin import SetupPin, Verdict
from device.kiosk.setup.ringing import Ringing
from device.kiosk.setup.wires import wires
from device.store.journal import JournalReader
from device.store.records import Entry

IDLE_S = 900.0
PAST = 60
_FRAME_S = 0.5


class SetupRoom:
    """The routes of the installer's page, on the server's thread. sessions  also who may enrol under supervision"""

    def __init__(self, behind: Behind, preview: Preview, ringing: Ringing, sessions: Sessions) -> None:
        self._behind, self._preview, self._ringing, self._sessions = behind, preview, ringing, sessions
        self._pin = SetupPin(behind.where, behind.clock)
        self._asking = asyncio.Lock()  # one PIN at a time: guesses in parallel would be counted as one
        self._focus = FocusMeter()

    def routes(self) -> list[Route]:
        return [Route("/setup/state", self._state), Route("/setup/enter", self._enter, methods=["POST"]),
                Route("/setup/stay", self._stay, methods=["POST"]),
                Route("/setup/leave", self._leave, methods=["POST"]), Route("/setup/live", self._live),
                Route("/setup/focus", self._refocus, methods=["POST"]), Route("/setup/picture", self._picture),
                Route("/setup/past", self._past), Route("/setup/claim", self._claim),
                Route("/setup/label", self._label)]

    # --- who is in ------------------------------------------------------------------------------------

    async def _state(self, request: Request) -> Response:
        session = self._sessions.of(request)
        return JSONResponse({"is_in": session is not None, "token": session.token if session else "",
                             "left_s": round(self._sessions.left_s) if session else 0, "is_set": self._pin.is_set,
                             "locked_s": round(self._pin.locked_s)})

    async def _enter(self, request: Request) -> Response:
        form = await Form.of(request)
        digits = form.digits("pin", pins.MOST_DIGITS, 1)
        form.end()
        async with self._asking:
            verdict = await run_in_threadpool(self._checked, digits)
        if verdict is not Verdict.RIGHT:
            raise self._refusal(verdict)
        session = self._sessions.begin()
        self._behind.put(entry("setup_entered", reader="kiosk"))
        return self._sessions.given(JSONResponse({"token": session.token}))

    def _checked(self, digits: str) -> Verdict:
        was_locked = bool(self._pin.locked_s)
        verdict = self._pin.check(digits)
        if verdict is Verdict.LOCKED and not was_locked:
            self._behind.put(entry("setup_locked", reader="kiosk"))
        elif verdict in (Verdict.WRONG, Verdict.LOCKED):
            self._behind.put(entry("setup_refused", reader="kiosk"))
        return verdict

    def _refusal(self, verdict: Verdict) -> PageRefused:
        if verdict is Verdict.LOCKED:
            return PageRefused(f"too many wrong tries: wait {self._pin.locked_s:.0f} s", "setup.pin_locked", 429)
        if verdict is Verdict.UNSET:
            return PageRefused("no setup PIN is set: doorctl kiosk-pin", "setup.pin_unset", 403)
        return PageRefused("the PIN is wrong", "setup.pin_wrong", 403)

    async def _stay(self, request: Request) -> Response:
        self._sessions.acting(request)
        return Response(status_code=204)

    async def _leave(self, request: Request) -> Response:
        self._sessions.acting(request)
        self._sessions.end()
        return Response(status_code=204)

    # --- what it shows --------------------------------------------------------------------------------

    async def _picture(self, request: Request) -> Response:
        self._sessions.looking(request)
        return pictures(self._preview, is_mirrored=False)

    async def _live(self, request: Request) -> Response:
        self._sessions.looking(request)
        return JSONResponse(await run_in_threadpool(self._seen))

    def _seen(self) -> dict[str, Any]:
        behind, config = self._behind, self._behind.config
        found = self._preview.newest(0, _FRAME_S)
        status, state = behind.status(), behind.state()
        return {
            "left_s": round(self._sessions.left_s),
            "focus": asdict(self._focus.read(found[1].pixels, config.face.zone)) if found else None,
            "light": asdict(light(found[1].pixels, config.face.zone)) if found else None,
            "wires": [asdict(one) for one in wires(state, config.pins, self._ringing.since_s())],
            "door": {"phase": state.phase.value, "mode": state.mode.value, "lock": config.door.lock,
                     "pin": config.pins.lock, "is_released": state.release_until is not None or state.is_free,
                     "relay_alive": status.relay_alive},
            "faults": sorted(state.degraded),
            "status": {name: getattr(status, name) for name in (
                "door_id", "camera", "camera_state", "fps", "model_id", "templates", "people", "threshold",
                "fpir_asked", "fpir_stated", "fpir_met", "liveness", "journal_entries", "journal_waiting",
                "memory_mb")},
            "clock": {"at": behind.clock.now().isoformat(timespec="seconds"), "quality": status.clock,
                      "zone": config.door.time_zone},
            "network": asdict(network()), "tie": asdict(tie.tie(behind.where)),
        }

    async def _refocus(self, request: Request) -> Response:
        self._sessions.acting(request)
        self._focus.reset()
        return Response(status_code=204)

    async def _past(self, request: Request) -> Response:
        self._sessions.looking(request)
        return JSONResponse(await run_in_threadpool(self._last_entries))

    def _last_entries(self) -> list[dict[str, Any]]:
        try:
            journal = JournalReader.open(self._behind.where.journal_db)
        except StoreError as error:
            raise PageRefused(str(error), "page.refused", 503) from None
        try:
            return [_told(one) for one in reversed(journal.last(PAST))]
        finally:
            journal.close()

    async def _claim(self, request: Request) -> Response:
        self._sessions.looking(request)
        found = tie.tie(self._behind.where)
        code = "" if found.is_linked else await run_in_threadpool(tie.claim_code, self._behind.where)
        return JSONResponse({"serial": tie.serial(), "code": code, "tie": asdict(found)})

    async def _label(self, request: Request) -> Response:
        self._sessions.looking(request)
        if tie.tie(self._behind.where).is_linked:
            raise PageRefused("this terminal is linked already", status=404)
        code = await run_in_threadpool(tie.claim_code, self._behind.where)
        return Response(tie.qr_svg(tie.label(tie.serial(), code)), media_type="image/svg+xml")


def _told(one: Entry) -> dict[str, Any]:
    """An entry as the page lists it; of a person the beginning of the random id, never a name."""
    detail = " ".join(f"{name}={value}" for name, value in one.detail)
    return {"seq": one.seq, "at": one.at.isoformat(timespec="seconds"), "kind": one.kind, "reason": one.reason,
            "person": (one.person_id or "")[:6], "detail": detail[:200]}
