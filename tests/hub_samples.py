"""What the hub's tests share: a hub in a folder of its own, pictures, consents, journal rows."""

from __future__ import annotations

import asyncio
import os
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import cv2
import httpx
import numpy as np
import postgres
import pytest

from device.clock import Clock, HandClock
from device.store.records import Consent
from sync.hub import consent
from sync.hub.enrol import Photo
from sync.hub.hub import Hub
from sync.hub.people import Newcomer
from sync.hub.places import SERVER, Places, places

_blank: list[Path] = []


def blank_state(factory: pytest.TempPathFactory) -> Path:
    """The state of a new hub with a site and two groups; made once, copied for each test."""
    if not _blank:
        root = factory.mktemp("blank") / "hub"
        on = {SERVER: postgres.make_blank()} if postgres.VARIABLE in os.environ else {}
        hub = Hub.open(places(on, root), HandClock(), {}, is_new=True)
        hub.groups.add_site("hq")
        hub.groups.add("staff", "hq")
        hub.groups.add("lab", "hq")
        hub.close()
        _blank.append(root)
    return _blank[0]


def open_hub(root: Path, factory: pytest.TempPathFactory, clock: Clock | None = None) -> Hub:
    """A hub of its own in `root`."""
    if not root.exists():
        shutil.copytree(blank_state(factory), root)
    return Hub.open(hub_places(root), clock or HandClock(), {})


def hub_places(root: Path) -> Places:
    """Of a hub that was made by `open_hub`: in a file, or on the server that tests are to run on."""
    return places({SERVER: postgres.address_of(root)} if postgres.VARIABLE in os.environ else {}, root)


def agreed(clock: Clock, valid_until: datetime | None = None,
           agreement: consent.Agreement = consent.PLAIN) -> Consent:
    return consent.of_text(clock, "paper", clock.now() - timedelta(days=1), valid_until, agreement)


def li_wei(**changes) -> Newcomer:
    return Newcomer(**{"label": "CANARY Li Wei", "groups": ("staff",), "external_id": "CANARY-0017", **changes})


def jpeg(pixels: np.ndarray, quality: int = 95) -> bytes:
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def photo_of(pixels: np.ndarray, name: str = "face.jpg") -> Photo:
    return Photo(name, jpeg(pixels))


def raw(root: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file())


class Client:
    """Asks an application without a network."""

    def __init__(self, app, token: str = "") -> None:
        self._app, self._token = app, token

    def request(self, method: str, path: str, **more) -> httpx.Response:
        more["headers"] = {"Authorization": f"Bearer {self._token}"} | more.get("headers", {})
        return asyncio.run(self._request(method, path, more))

    async def _request(self, method: str, path: str, more: dict) -> httpx.Response:
        transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="https://hub.test") as client:
            return await client.request(method, path, **more)

    def get(self, path: str, **more) -> httpx.Response:
        return self.request("GET", path, **more)

    def post(self, path: str, **more) -> httpx.Response:
        return self.request("POST", path, **more)

    def put(self, path: str, **more) -> httpx.Response:
        return self.request("PUT", path, **more)

    def patch(self, path: str, **more) -> httpx.Response:
        return self.request("PATCH", path, **more)

    def delete(self, path: str, **more) -> httpx.Response:
        return self.request("DELETE", path, **more)
