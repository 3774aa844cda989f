"""Updater: from a bundle to a release that runs, by named steps, each of which may be the last before a power cut.

What stands on the card decides what comes next, never what a process remembers:

    no `release.json` in a folder          it was being installed: it goes
    a trial of a release that is not       it was cut off before the switch, or while going back: the trial ends and
      the current one                      the release before runs
    a trial of the current release         each boot counts down; the gate ends it or goes back
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from device.clock import Clock
from device.errors import TerminalError
from device.update.bundle import Bundle
from device.update.disk import UpdateFailed, guarded, remove
from device.update.gate import Gate, Verdict
from device.update.health import NEVER_TOLERATED, Watch
from device.update.installation import Installer
from device.update.layout import Layout
from device.update.manifest import Manifest
from device.update.outcome import Outcome, Result, read_outcome, write_outcome
from device.update.release import Machine, check_fits, write_release
from device.update.services import Services
from device.update.slots import Slots
from device.update.stage import Stage
from device.update.time_floor import TimeFloor
from device.update.trial import BOOTS, START_S, Trial, end_trial, read_trial, write_trial
from device.update.verification import Verified, sweep_metadata, verify
from device.update.version import Version

log = logging.getLogger(__name__)

STEPS = ("sweep", "copy", "verify", "fit", "room", "unpack", "install", "rehearse", "seal", "trust", "keep", "trial",
         "switch", "told", "consumed", "restart", "judge", "good", "back", "went_back", "end")
"""The steps by name, in their order; `back` and `went_back` where a release does not show that it works."""

LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the updater acts through. at: told the name of each step as it begins."""

    clock: Clock
    machine: Machine
    boot_id: str
    installer: Installer
    services: Services
    watch: Watch
    floor: TimeFloor
    wait: Callable[[float], None]
    say: Callable[[str], None]
    at: Callable[[str], None]


class Updater:
    """Owned by whoever holds the lock (`turn`)."""

    def __init__(self, layout: Layout, stage: Stage, around: Surroundings) -> None:
        self._layout, self._stage, self._around = layout, stage, around
        self._slots = Slots(layout)

    def update(self, source: Path, is_incoming: bool = False) -> None:
        """Install what a bundle holds and switch to it, on trial; TerminalError where that cannot be, and then
        nothing is changed."""
        around = self._around
        around.at("sweep")
        self._recover()
        try:
            trial = self._switched(self._installed(source), is_incoming)
        except TerminalError as error:
            self._undo()
            self._tell(Result.REFUSED, "", str(error))
            raise
        around.at("told")
        self._tell(Result.TRYING, str(trial.version))
        around.at("consumed")
        self._consume(trial)
        around.at("restart")
        around.services.restart()

    def judge(self) -> Result | None:
        """Watch the release on trial until it has shown that it works, or go back; None where none is on trial."""
        trial = self._trial()
        if trial is None or self._is_void(trial):
            return None
        around, since = self._around, self._since(trial)
        gate = Gate(trial.deadline_mono if since else around.clock.mono() + START_S)
        has_decided = False
        around.at("judge")
        while True:
            health = around.watch.look(since)
            verdict = gate.see(around.clock.mono(), health.pid, health.faults.difference(trial.tolerated))
            if verdict is Verdict.GOOD:
                return self._good(trial)
            if verdict is Verdict.BAD:
                return self._back(trial, f"it is not well: {gate.why}")
            if not gate.why and not has_decided:
                if why := self._undecided(trial.version):
                    return self._back(trial, why)
                has_decided = True
            around.wait(LOOK_S)

    def boot(self) -> Result | None:
        """At the start of the machine, before the services: count down, or go back to the release before."""
        trial = self._trial()
        if trial is None or self._is_void(trial) or trial.boot_id == self._around.boot_id:
            return None
        self._consume(trial)
        left = trial.boots_left - 1
        if left <= 0:
            return self._back(trial, f"nobody marked it good in {BOOTS} boots", is_booting=True)
        deadline = self._around.clock.mono() + START_S
        with guarded(self._layout.trial):
            write_trial(self._layout.trial, replace(trial, boots_left=left, boot_id=self._around.boot_id,
                                                    deadline_mono=deadline))
        self._around.say(f"release {trial.version} is on trial; {left} boots are left")
        return None

    def mark_good(self) -> Result | None:
        """End the trial now; UpdateFailed where the terminal is not well. None where no release is on trial."""
        trial = self._trial()
        if trial is None or self._is_void(trial):
            return None
        faults = self._around.watch.look(self._since(trial)).faults.difference(trial.tolerated)
        if faults:
            raise UpdateFailed(f"release {trial.version} is not well: {', '.join(sorted(faults))}; its trial goes on")
        return self._good(trial)

    def go_back(self) -> Result:
        """Go back to the release before, by hand; UpdateFailed where there is none."""
        current, previous = self._slots.current, self._slots.previous
        if previous is None or previous.version == current.version:
            raise UpdateFailed("there is no release to go back to")
        return self._back(Trial(current.version, previous.version, 0, "", 0.0), "asked for by hand")

    # --- the steps of an update --------------------------------------------------------------------------

    def _installed(self, source: Path) -> Manifest:
        """A new release, whole and tried, beside the one that runs."""
        around, current = self._around, self._slots.current
        around.at("copy")
        self._stage.copy(source)
        around.at("verify")
        with Bundle.open(self._stage.bundle) as bundle:
            verified = verify(bundle, self._layout.metadata, self._layout.bootstrap, around.floor)
            manifest = verified.manifest
            around.at("fit")
            check_fits(manifest, around.machine, current)
            around.say(f"release {manifest.version}, signed and for this machine; {current.version} runs")
            around.at("room")
            self._slots.make_room()
            self._stage.room_for(manifest, bundle, self._layout.releases)
            around.at("unpack")
            parts = self._stage.unpack(bundle)
        self._fill(self._layout.release(manifest.version), parts, verified)
        return manifest

    def _fill(self, folder: Path, parts: Path, verified: Verified) -> None:
        around = self._around
        around.at("install")
        self._slots.discard(folder)
        around.installer.install(parts, folder)
        around.at("rehearse")
        around.installer.rehearse(folder)
        around.at("seal")
        write_release(folder, verified.manifest)
        around.at("trust")
        verified.trust()
        around.floor.rise(verified.manifest.built)

    def _switched(self, manifest: Manifest, is_incoming: bool) -> Trial:
        """The trial under which the new release is the one that starts."""
        around, before = self._around, self._slots.current
        tolerated = tuple(sorted(around.watch.look().faults - NEVER_TOLERATED))
        around.at("keep")
        self._slots.keep(before.version)
        around.at("trial")
        trial = Trial(manifest.version, before.version, BOOTS, around.boot_id, around.clock.mono() + START_S,
                      tolerated, is_incoming)
        with guarded(self._layout.trial):
            write_trial(self._layout.trial, trial)
        around.at("switch")
        self._slots.switch(manifest.version)
        return trial

    def _consume(self, trial: Trial) -> None:
        """What the release came by has had its turn; that it cannot be removed is no reason to stop here."""
        try:
            if trial.is_incoming:
                with guarded(self._layout.incoming):
                    remove(self._layout.incoming)
            self._stage.clear()
        except UpdateFailed as error:
            log.error("%s", error)

    # --- what comes of it --------------------------------------------------------------------------------

    def _undecided(self, version: Version) -> str:
        try:
            self._around.installer.rehearse(self._layout.release(version))
        except UpdateFailed as error:
            return str(error)
        return ""

    def _good(self, trial: Trial) -> Result:
        self._around.at("good")
        self._tell(Result.UPDATED, str(trial.version))
        end_trial(self._layout.trial)
        self._around.floor.rise(self._around.floor.at)
        self._around.at("end")
        return Result.UPDATED

    def _back(self, trial: Trial, why: str, is_booting: bool = False) -> Result:
        self._around.at("back")
        self._slots.switch(trial.previous)
        self._around.at("went_back")
        self._tell(Result.ROLLED_BACK, str(trial.version), why)
        end_trial(self._layout.trial)
        if not is_booting:
            self._around.services.restart()
        self._around.at("end")
        return Result.ROLLED_BACK

    def _recover(self) -> None:
        trial = self._trial()
        if trial is not None and not self._is_void(trial):
            raise UpdateFailed(f"release {trial.version} is on trial: wait until it is over, a few minutes")
        self._undo()

    def _undo(self) -> None:
        """Leave nothing of an update that did not come to its switch."""
        self._stage.clear()
        sweep_metadata(self._layout.metadata)
        self._slots.sweep()
        trial = self._trial()
        if trial is not None:
            self._is_void(trial)

    def _trial(self) -> Trial | None:
        """The trial under way. One whose file is damaged is in its last boot: nobody can say what it was."""
        try:
            return read_trial(self._layout.trial)
        except ValueError as error:
            log.error("%s", error)
        current, previous = self._slots.current, self._slots.previous
        return Trial(current.version, (previous or current).version, 0, "", 0.0)

    def _since(self, trial: Trial) -> float:
        """Whatever started after this runs the release on trial; 0 where nothing counted this boot down: then
        everything of this boot did."""
        return trial.since_mono if trial.boot_id == self._around.boot_id else 0.0

    def _is_void(self, trial: Trial) -> bool:
        """Whether the trial's release does not run; the trial ends then."""
        if self._slots.current.version == trial.version:
            return False
        before = read_outcome(self._layout.outcome)
        was_on = before is not None and before.version == str(trial.version) and before.result is not Result.REFUSED
        if not was_on or before is None or before.result is Result.TRYING:
            self._tell(Result.ROLLED_BACK if was_on else Result.CUT, str(trial.version), "it was cut off")
        end_trial(self._layout.trial)
        return True

    def _tell(self, result: Result, version: str, why: str = "") -> None:
        runs = str(self._slots.current.version)
        write_outcome(self._layout.outcome, Outcome(self._around.clock.now(), result, version, runs, why))
        log.log(logging.WARNING if why else logging.INFO, "update %s: %s%s", version, result.value,
                f": {why}" if why else "")
