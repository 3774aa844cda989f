"""The whole in one: a hub with a private Mosquitto, door-syncd and doord, to see people arrive at the door and go.

`fleethub try` (and so `make run`) runs it. Hub and doord are this process; door-syncd is one of its own, tied to the
hub by a one-time code as any terminal is. Nothing outside the state folder and loopback is touched.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from device.clock import SystemClock
from device.config import Config
from device.enrolment import Enrolled
from device.enrolment import Photo as Shot
from device.errors import EnrolmentRefused, HardwareMissing, PictureRefused, StoreError
from device.frame import Pixels
from device.kiosk.enrolment.registrar import Registrar
from device.link import read_link
from device.rehearsal.show import Say, Show
from device.store.places import Places, make_folders, places
from device.store.records import Method
from device.store.seal import load_key
from sync.hub import consent
from sync.hub.api import application
from sync.hub.claim_api import router
from sync.hub.enrol import Photo
from sync.hub.errors import FieldRefused, InTheWay
from sync.hub.hub import Hub
from sync.hub.people import Newcomer
from sync.hub.places import places as hub_places
from sync.hub.serve import Options, Service
from sync.hub.storage import exists

SITE, GROUP, TERMINAL = "try", "everyone", "door-1"
STARTING_S = 30.0
SYNCD = (sys.executable, "-c", "import sys; from sync.agent.start import main; sys.exit(main())")


@dataclass(frozen=True, slots=True)
class Fleet:
    """A running hub and the one terminal that was tied to it.

    where  the terminal's state, for doord
    token  for the hub's API
    """

    hub: Hub
    service: Service
    where: Places
    link: Path
    token: str
    syncd: subprocess.Popen[bytes]


@contextlib.contextmanager
def fleet(root: Path, say: Say) -> Iterator[Fleet]:
    """Start hub, broker and door-syncd with state below `root`; all of it ends with the block."""
    clock = SystemClock()
    hub_state = hub_places({}, root / "hub")  # not what the surroundings name: that hub is in use
    is_new = not exists(hub_state.main)
    hub = Hub.open(hub_state, clock, {}, is_new=is_new)
    with contextlib.ExitStack() as undo:
        undo.callback(hub.close)
        if is_new:
            hub.groups.add_site(SITE)
            hub.groups.add(GROUP, SITE)
            hub.fleet.add(TERMINAL, SITE, [GROUP])
        service = Service(hub, Options(with_broker=True, api_host="127.0.0.1", api_port=0))
        token, _ = hub.tokens.make("admin", "made by fleethub try")
        service.start(application(hub, service.claims, [router(service.claims, clock)], service.is_well))
        undo.callback(service.stop)
        _await(service.is_well, "the hub's link to its broker did not come up")
        where = places({"DOOR_STATE": str(root / "terminal")})
        make_folders(where)
        load_key(where)
        link = root / "terminal" / "link" / "link.toml"
        environment = {**os.environ, "DOOR_STATE": str(where.root), "DOOR_LINK": str(link)}
        if not link.exists():
            _claim(service, root, environment)
        undo.enter_context(_environment({"DOOR_STATE": str(where.root), "DOOR_LINK": str(link)}))
        syncd = subprocess.Popen([*SYNCD, "run"], env=environment)
        undo.callback(_end, syncd)
        _await(where.gallery_db.exists, "door-syncd did not begin a gallery")
        port = service.http.port if service.http else 0
        say(f"hub: API at https://127.0.0.1:{port}, broker at 127.0.0.1:{service.broker_port}; terminal "
            f"{read_link(link).terminal_id} is tied to it")
        yield Fleet(hub, service, where, link, token, syncd)


def try_out(config: Config, seconds: float | None, say: Say) -> int:
    """The rehearsal with a hub: people are enrolled and removed there, and the door follows."""
    with tempfile.TemporaryDirectory(prefix="door-try-") as folder, fleet(Path(folder), say) as running:
        return Show(config, running.where, lambda show: HubLibrary(running, show), say,
                    HubRegistrar(running.hub)).play(seconds)


def serve_camera(root: Path, say: Say, serve: Callable[[Registrar], int]) -> int:
    """A hub beside a door with a real camera, its state kept below `root`."""
    with fleet(root, say) as running:
        say("enrol yourself on the screen, or in a second shell: "
            f"{Path(sys.argv[0])} --state {running.hub.where.root} person add \"Your Name\" portrait.jpg "
            f"--group {GROUP} --consent paper")
        return serve(HubRegistrar(running.hub))


class HubRegistrar:
    """The hub beside the door takes in whoever enrols on the door's own screen."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def admit(self, label: str, photos: Sequence[Shot], secrets: Sequence[tuple[Method, bytes]]) -> Enrolled:
        hub = self._hub
        pictures = [Photo(f"{one.name}.png", cv2.imencode(".png", one.pixels)[1].tobytes()) for one in photos]
        agreed = consent.of_text(hub.clock, "screen")
        try:
            done = hub.enroller.enrol(Newcomer(label, (GROUP,)), pictures, agreed)
        except (InTheWay, FieldRefused, PictureRefused) as error:
            raise EnrolmentRefused(str(error)) from None
        try:
            for method, secret in secrets:
                hub.people.add_credential(done.person_id, method, secret)
        except (InTheWay, FieldRefused) as error:
            hub.people.remove([done.person_id])
            raise EnrolmentRefused(str(error)) from None
        return Enrolled(done.person_id, done.template_ids, done.qualities)


class HubLibrary:
    """The hub as the show's library."""

    def __init__(self, running: Fleet, show: Show) -> None:
        self._hub, self._show = running.hub, show

    def enrol(self, label: str, photo: Pixels) -> str:
        encoded = cv2.imencode(".png", photo)[1].tobytes()
        agreed = consent.of_text(self._show.clock, "screen")
        newcomer = Newcomer(label, (GROUP,))
        return self._hub.enroller.enrol(newcomer, [Photo("enrolment.png", encoded)], agreed).person_id

    def remove(self, person_id: str) -> None:
        self._hub.people.remove([person_id])


def _claim(service: Service, root: Path, environment: dict[str, str]) -> None:
    if service.http is None:
        raise StoreError("the hub's API did not start")
    authority = root / "hub-ca.pem"
    authority.write_bytes(service.authority.certificate_pem())
    command = [*SYNCD, "claim", "--hub", f"https://127.0.0.1:{service.http.port}", "--ca", str(authority), "--code",
               service.claims.issue(TERMINAL)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise HardwareMissing(f"the terminal could not be tied to the hub: {done.stderr.strip()}")


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """These variables for as long as the block lasts: doord finds its state and its link by them."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _await(happened: Callable[[], bool], otherwise: str) -> None:
    clock, pause = SystemClock(), threading.Event()
    deadline = clock.mono() + STARTING_S
    while not happened():
        if clock.mono() > deadline:
            raise StoreError(otherwise)
        pause.wait(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
