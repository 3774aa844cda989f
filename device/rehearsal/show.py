"""The show: the real terminal before the rehearsal's camera, with everyone who ought to be refused and let in.

`doorctl run` plays it where no camera is attached, `fleethub try` with a hub. A stranger (the sitter, before being
enrolled) is refused, the sitter is enrolled while the door runs, and let in; another face is refused, and so is the
same portrait on paper and on a phone's screen; the sitter is removed, and refused again. Then once more, in other
light, until the time is up. The verdict is that the door was released for the enrolled person and for nobody else.
Whoever enrols on the screen meanwhile, where the show goes on for ever, has a guest for a face (`rehearsal.guest`).
"""

from __future__ import annotations

import queue
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace

from device.app import obey_signals
from device.clock import SystemClock
from device.commands.told import Teller
from device.config import Config
from device.door.decision import Decision, Now
from device.face.gallery import Gallery
from device.face.models import Models
from device.hardware.orders import Ack, Said
from device.kiosk.enrolment.booth import Progress
from device.kiosk.enrolment.registrar import Registrar
from device.packs.archives import portrait
from device.rehearsal import scenes
from device.rehearsal.camera import RehearsalCamera
from device.rehearsal.guest import GUESTS, Guest
from device.rehearsal.library import Library, OwnLibrary
from device.rehearsal.light import DARK, WARM
from device.rehearsal.pace import ATTACK, STRANGER, Pace
from device.rehearsal.people import SITTER, STRANGERS, people_of
from device.rehearsal.scenes import Scene, empty, held_up, performs, walks_up
from device.rehearsal.stage import Stage, enrolment_photo
from device.sighting import Hint, Sighting
from device.store.journal import JournalReader
from device.store.places import Places, places
from device.terminal import Terminal
from device.threads import Worker

PATIENCE_S = 15.0  # for one act; a person who is not answered by then has given up
LAP_S = 22.0  # one round of all visitors takes about so long
PAUSE_S = 1.2  # the empty door between two visitors: long enough for the track to end
STANDING_S = 3.2  # after which whoever walks up has come to stand
WAVED_OFF_S = 2.0  # an attack that is only asked for what it cannot do has been refused if it is not in by then
Say = Callable[[str], None]


@dataclass(slots=True)
class Score:
    """What happened at the door, as the relay and the decisions told it."""

    enrolled_id: str | None = None
    releases: int = 0
    wrong_releases: int = 0
    refusals: int = 0
    attacks: int = 0
    acts_missed: int = 0
    switched_on: int = 0

    def has_gone_well(self) -> bool:
        return (self.releases >= 1 and self.refusals >= 3 and self.switched_on == self.releases
                and self.wrong_releases == self.acts_missed == 0)


def rehearse(config: Config, seconds: float | None, say: Say) -> int:
    """Play the show for about `seconds` (None: for ever) on a stand-alone terminal; 0 where it went as it must."""
    with tempfile.TemporaryDirectory(prefix="door-rehearsal-") as folder:
        where = places({"DOOR_STATE": folder})
        return Show(config, where, _own, say).play(seconds)


def _own(show: Show) -> Library:
    return OwnLibrary(show.config, show.where, show.terminal.card, show.clock)


class Show:
    """One performance. Acts are directed from a thread of their own; the caller's is the door's."""

    def __init__(self, config: Config, where: Places, library: Callable[[Show], Library], say: Say,
                 registrar: Registrar | None = None) -> None:
        """registrar  takes in whoever enrols on the screen, where the gallery is not the terminal's own"""
        # Doors that answer quickly again, so that the same visitor may come twice in a minute.
        self.config = replace(config, door=replace(config.door, release_s=min(config.door.release_s, 1.0)))
        self.where, self._say = where, say
        self.clock = SystemClock()
        self._library = library
        self._score = Score()
        self._expected: str | None = None
        self._begun_mono = 0.0
        self._performed = ""
        self._pace, self._until = Pace(), float("inf")
        self._decisions: queue.Queue[Decision] = queue.Queue(100)
        self._teller = Teller(say, self._name)
        self._registrar = registrar
        self._guests: dict[str, str] = {}  # id -> who of `rehearsal.people` that is

    def play(self, seconds: float | None) -> int:
        say = self._say
        say("rehearsal: no camera is used; the faces are rendered from one public-domain portrait")
        if seconds is not None:  # then nobody but the show enrols people: it knows whom the door must let in
            self.config = replace(self.config, kiosk=replace(self.config.kiosk, enrol="off"))
        with Terminal(self.config, self.where, self.clock, camera=lambda: self._camera, observers=[self],
                      acknowledged=self._acknowledged, registrar=self._registrar) as terminal:
            self.terminal = terminal
            models = Models.load(terminal.card)
            self._people = people_of(portrait(), models.finder, models.landmarks)
            self._photo = enrolment_photo(self._people)
            camera = self.config.camera
            self._camera = RehearsalCamera(Stage(self._people, (camera.width, camera.height)), empty(), camera.fps,
                                           self.clock)
            self._guest = Guest(self._camera.show)
            obey_signals(terminal)
            terminal.start()
            status = terminal.status()
            say(f"ready after {status.ready_s:.1f} s: {status.model_id}, {self.config.door.lock}; liveness "
                f"{status.liveness}")
            if terminal.kiosk is not None:
                say(f"screen: {terminal.kiosk.address}")
                if self.config.kiosk.enrol == "open":
                    say(f"enrol somebody there: {terminal.kiosk.address}enrol; a rendered guest stands before the "
                        "camera for you, and comes to the door afterwards")
            director = Worker("director", lambda worker: self._direct(worker, seconds), self.clock)
            director.start()
            terminal.run(until=lambda: not director.is_alive())
            director.stop(PATIENCE_S)
            if director.error is not None:
                raise director.error
        return self._verdict()

    # --- the acts, on the director's thread -----------------------------------------------------------

    def _direct(self, worker: Worker, seconds: float | None) -> None:
        start = self.clock.mono()
        self._until = float("inf") if seconds is None else start + max(seconds, LAP_S)
        library = self._library(self)
        lights = [("", walks_up()), (", in the dark", walks_up(light=DARK)),
                  (", in warm light", walks_up(light=WARM)), (", beside a stranger", scenes.SCENES["two_people"])]
        number = 0
        while not worker.stopping.is_set() and (
                number == 0 or seconds is None or self.clock.mono() - start < seconds - LAP_S):
            manner, scene = lights[number % len(lights)]
            stranger = STRANGERS[number % 4]
            self._act(worker, "somebody whom the door does not know", walks_up(), None)
            self._enrol(worker, library)
            self._act(worker, f"the same person, enrolled now{manner}", scene, SITTER)
            self._act(worker, "another person", walks_up(stranger, seed=2 + number), None)
            self._act(worker, "the enrolled person's portrait on paper", held_up("print-a4", waved=True), ATTACK)
            self._act(worker, "the portrait on a phone's screen", held_up("screen-large-phone", waved=True), ATTACK)
            self._remove(worker, library)
            self._act(worker, "the same person, removed", walks_up(), None)
            number += 1

    def _act(self, worker: Worker, title: str, scene: Scene, expected: str | None) -> None:
        """Show a visitor until the door has answered as it must, or patience ends."""
        self._receive_guests(worker)
        if not self._keep_pace(worker, expected):
            return
        self._say(f"-- {title}")
        self._expected, self._begun_mono = expected, self.clock.mono()
        while not self._decisions.empty():
            self._decisions.get_nowait()
        self._camera.show(scene)
        is_answered = False
        while not is_answered and self._acted_s() < PATIENCE_S and not self._is_interrupted(worker):
            is_answered = self._is_answer(expected) or self._is_waved_off(expected)
        if not is_answered and not self._is_interrupted(worker):
            self._score.acts_missed += 1
            self._say("          no answer: this is not how it should be")
        worker.stopping.wait(0.6)
        self._camera.show(empty())
        worker.stopping.wait(PAUSE_S)

    def _is_interrupted(self, worker: Worker) -> bool:
        return worker.stopping.is_set() or self._enrolment() is not None

    def _enrolment(self) -> Progress | None:
        """Where somebody stands who enrols on the screen; None where nobody does."""
        kiosk = self.terminal.kiosk
        return kiosk.enrolment.progress if kiosk is not None else None

    def _receive_guests(self, worker: Worker) -> None:
        """Have a guest stand before the camera while somebody enrols on the screen, and come in once enrolled."""
        kiosk = self.terminal.kiosk
        while kiosk is not None and self._enrolment() is not None and not worker.stopping.is_set():
            self._say("-- somebody enrols on the screen; a guest stands before the camera")
            self._expected = None
            while (progress := self._enrolment()) is not None and not worker.stopping.wait(0.05):
                self._guest.follow(progress)
            self._guest.follow(None)
            if (newest := kiosk.enrolment.newest) and newest not in self._guests:
                self._guests[newest] = self._guest.who
                self._await(worker, f"enrolled {newest}", lambda: self._gallery().has_person(newest), "known",
                            self.clock.mono())
                self._act(worker, "the guest, enrolled on the screen", walks_up(self._guest.who), self._guest.who)
                self._guest.is_enrolled()

    def _keep_pace(self, worker: Worker, expected: str | None) -> bool:
        """Wait until the door would not lock anybody out for this visitor; false where the show ends before that."""
        key = None if self._is_welcome(expected) else expected or STRANGER
        wait_s = self._pace.wait_s(key, self.terminal.rosters.current.rules.site, self.clock.mono())
        if wait_s > 0.0 and self.clock.mono() + wait_s > self._until:
            return False
        if wait_s > PAUSE_S:
            self._say(f"-- nobody for {wait_s:.0f} s: more refused visitors in a minute would lock the face out")
        return not worker.stopping.wait(wait_s)

    def _is_answer(self, expected: str | None) -> bool:
        try:
            decision = self._decisions.get(timeout=0.1)
        except queue.Empty:
            return False
        if self._is_welcome(expected):
            return decision.granted
        return not decision.granted and (expected is None or decision.reason == ATTACK)

    def _is_waved_off(self, expected: str | None) -> bool:
        """Without the passive networks an attack may be asked for a challenge until it goes, and called nothing."""
        panel = self.terminal.sight.liveness if self.terminal.sight is not None else None
        has_passive = panel is not None and panel.has_passive
        is_waved_off = expected == ATTACK and not has_passive and self._acted_s() > WAVED_OFF_S
        self._score.refusals += is_waved_off
        return is_waved_off

    def _acted_s(self) -> float:
        return self.clock.mono() - self._begun_mono

    def _enrol(self, worker: Worker, library: Library) -> None:
        if worker.stopping.is_set():
            return
        person_id = library.enrol("the sitter", self._photo)
        self._score.enrolled_id = person_id
        self._await(worker, f"enrolled {person_id}", lambda: self._gallery().has_person(person_id), "known",
                    self.clock.mono())

    def _remove(self, worker: Worker, library: Library) -> None:
        person_id = self._score.enrolled_id
        if worker.stopping.is_set() or person_id is None:
            return
        # The door may have heard of it before the call returns, which goes on cleaning up: from its beginning then.
        asked = self.clock.mono()
        library.remove(person_id)
        self._await(worker, f"removed {person_id}", lambda: not self._gallery().has_person(person_id), "forgotten",
                    asked)

    def _await(self, worker: Worker, what: str, happened: Callable[[], bool], then: str, since: float) -> None:
        """Wait until the door has taken a change over, and say how long that took."""
        while not happened() and self.clock.mono() < since + PATIENCE_S:
            worker.stopping.wait(0.002)
        if happened():
            self._say(f"          {what}; {then} at the door {(self.clock.mono() - since) * 1000:.0f} ms later")
        else:
            self._score.acts_missed += 1
            self._say(f"          {what}, but the door has not heard of it: this is not how it should be")

    def _gallery(self) -> Gallery:
        return self.terminal.rosters.current.gallery

    # --- what the door thread tells -------------------------------------------------------------------

    def decided(self, decision: Decision, at: Now) -> None:
        score = self._score
        if decision.granted:
            score.releases += 1
            score.wrong_releases += self._expected is None or self._who(decision.person_id) != self._expected
        else:
            score.refusals += 1
            score.attacks += decision.reason == ATTACK
            self._pace = self._pace.after(decision, self.terminal.rosters.current.rules.site, at.mono)
        self._teller.decided(decision, at)
        if not self._decisions.full():
            self._decisions.put_nowait(decision)

    def signalled(self, reason: str) -> None:
        """Told by the decision already."""

    def awaited(self, sighting: Sighting) -> None:
        """The enrolled person does what is asked, once standing before the camera; a picture cannot."""
        self._teller.awaited(sighting)
        who = self._expected
        if who is None or not self._is_welcome(who) or self._acted_s() < STANDING_S or sighting.hint is Hint.NONE:
            return
        wanted = "turn_left" if sighting.hint is Hint.TURN_A_LITTLE else sighting.action
        if wanted != self._performed and self._enrolment() is None:
            self._performed = wanted
            self._camera.show(performs(wanted, who))

    def _acknowledged(self, ack: Ack) -> None:
        self._score.switched_on += ack.is_on and ack.said is Said.SWITCHED
        self._teller.acknowledged(ack)

    def _name(self, person_id: str) -> str:
        return {SITTER: "the sitter", "": person_id}.get(self._who(person_id), "the guest")

    def _who(self, person_id: str | None) -> str:
        """Of `rehearsal.people`; "" for whoever is none of those enrolled."""
        if person_id is None:
            return ""
        return SITTER if person_id == self._score.enrolled_id else self._guests.get(person_id, "")

    @staticmethod
    def _is_welcome(expected: str | None) -> bool:
        """Whether the door must let that visitor in."""
        return expected == SITTER or expected in GUESTS

    def _verdict(self) -> int:
        score = self._score
        reader = JournalReader.open(self.where.journal_db)
        try:
            entries = reader.verify()
        finally:
            reader.close()
        self._say(f"rehearsal: released {score.releases} times for the enrolled person, {score.wrong_releases} times "
                  f"for anybody else; {score.refusals} refusals, {score.attacks} of them attacks; {entries} journal "
                  "entries, the chain is whole")
        if score.has_gone_well():
            return 0
        self._say("rehearsal: FAILED: the door opened for the wrong face" if score.wrong_releases else
                  f"rehearsal: FAILED: {score.acts_missed} visitors were not answered as they must be, the relay "
                  f"switched on {score.switched_on} times")
        return 1
