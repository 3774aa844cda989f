"""How a terminal is at this moment, gathered from its parts for `status`, the metrics and the kiosk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from device.clock import boot_id
from device.face.runtime import runtime_name
from device.status import Status, memory_mb

if TYPE_CHECKING:
    from device.terminal import Terminal


def condition_of(terminal: Terminal) -> Status:
    """Called by the door thread."""
    roster, state = terminal.rosters.current, terminal.gatekeeper.state
    sight, journal, threshold = terminal.sight, terminal.journal.journal, roster.threshold
    camera = sight.keeper if sight else None
    return Status(
        pid=os.getpid(), boot=boot_id(), mono=terminal.clock.mono(), started_mono=terminal.begun_mono,
        ready_s=round(terminal.ready_s, 3),
        door_id=terminal.config.door.id, phase=state.phase.value, mode=state.mode.value,
        degraded=tuple(sorted(state.degraded)), camera=camera.description if camera else "none",
        camera_state=camera.state.value if camera else "none", fps=round(camera.fps, 1) if camera else 0.0,
        frames_dropped=sight.frames_dropped if sight else 0,
        sightings_dropped=terminal.inbox.dropped, model_id=terminal.card.model_id, runtime=runtime_name(),
        templates=len(roster.gallery), people=roster.people, rejected=roster.rejected, foreign=roster.foreign,
        threshold=round(threshold.score, 4), fpir_asked=terminal.config.face.fpir,
        fpir_stated=threshold.stated_fpir, fpir_met=threshold.is_budget_met, threshold_why=threshold.why,
        rates=tuple((rate.population, rate.fmr, rate.fpir) for rate in threshold.rates),
        liveness=sight.liveness_words if sight else "none", clock=terminal.clock_quality().value,
        journal_entries=journal.head if journal else 0, journal_waiting=terminal.journal.waiting,
        relay_alive=terminal.relay.is_alive(), memory_mb=round(memory_mb(), 1), outbox=terminal.hub.outbox(),
        relay_pulses=terminal.relay_pulses, watchdog_kicks=terminal.vigil.kicks)
