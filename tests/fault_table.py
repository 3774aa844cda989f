"""Every fault that the product must bear, the test that shows that it does, and what was counted last.

    (row, fault, test or "" where it is not shown here, how often, or why it is not shown)

A test is `file::beginning of its name`. Figures are stated by the tests themselves (`fault_figures`).
"""

from __future__ import annotations

import json
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent

ROWS: tuple[tuple[str, str, str, str], ...] = (
    ("F1", "doord killed while events are written",
     "test_store_kills.py::test_no_acknowledged_entry_is_lost_by_a_kill",
     "DOOR_KILLS"),
    ("F2", "the gallery's writer killed", "test_store_kills.py::test_a_killed_writer_leaves_whole_pages_only",
     "DOOR_KILLS"),
    ("F3", "power cut, writes dropped or torn", "test_store_power.py::test_no_acknowledged_entry_is_lost_by_a_power",
     "DOOR_CUTS"),
    ("F4", "torn tails, zeroed sectors, truncated files",
     "test_store_damage.py::test_a_damaged_journal_gives_a_prefix_or_is_set_aside", ""),
    ("F5", "a flipped bit in a template", "test_store_damage.py::test_one_flipped_bit_in_any_template_is_found", ""),
    ("F6", "full disk while recording", "test_store_full.py::test_a_full_disk_uses_the_reserve_then_memory", ""),
    ("F7", "a disk that fails under way", "test_store_full.py::test_a_disk_that_fails_under_way_is_noticed", ""),
    ("F8", "disk remounted read-only", "test_store_full.py::test_a_read_only_disk_is_read_and_refuses", ""),
    ("F9", "writer, reader and checkpoint on one file",
     "test_store_kills.py::test_a_reader_never_sees_half_a_change_of_another_process", ""),
    ("F10", "a migration killed midway", "test_store_kills.py::test_a_migration_killed_at_any_statement", ""),
    ("F11", "50 000 events and 100 000 people", "",
     "measured, not a test: `python -m sync.bench`, `doorctl bench --only start`"),
    ("F12", "flash wear", "", "not shown: bytes written a day were not counted"),
    ("F13", "broker killed with traffic queued", "faults/test_sync_kills.py::test_kills_lose_nothing", "DOOR_KILLS"),
    ("F14", "hub killed", "faults/test_sync_kills.py::test_kills_lose_nothing", "DOOR_KILLS"),
    ("F15", "partition of seconds to days", "test_sync_world.py::test_a_partition_of_a_simulated_day", ""),
    ("F16", "half-open connection", "faults/test_sync_line.py::test_a_line_that_is_dead", ""),
    ("F17", "slow, cut, noisy line", "faults/test_sync_line.py::test_", ""),
    ("F18", "pages doubled, reordered, replayed, in random orders with all else",
     "faults/test_sync_orders.py::TestOrders",
     "DOOR_ORDERS"),
    ("F19", "a message that makes a handler raise",
     "test_hub_serve.py::test_a_message_that_makes_a_handler_raise", ""),
    ("F20", "a command that comes late", "test_orders_desk.py::test_a_command_that_comes_late_is_refused", ""),
    ("F21", "a command replayed, or another terminal's", "test_sync_world.py::test_a_command_twice_late", ""),
    ("F22", "500 terminals reconnect at once", "",
     "not shown: pauses grow with jitter (test_agent_journal.py), the storm itself was not made"),
    ("F23", "backlog of 50 000 events", "", "measured, not a test: `python -m sync.bench`"),
    ("F24", "a page forged, or of an older state", "test_sync_world.py::test_a_forged_page", ""),
    ("F25", "a person revoked, online and offline",
     "test_hub_side.py::test_persons_of_lapsed_groups_alone_are_unknown", ""),
    ("F26", "deletion for good", "test_store_slots.py::test_what_was_removed_opens_under_no_key_that_is_left", ""),
    ("F27", "doord dies while the relay is on",
     "test_app_kills.py::test_doord_killed_while_it_releases", "DOOR_KILLS"),
    ("F28", "no pulse at start or stop", "test_hardware_relay.py::test_no_pulse_at_start_or_stop",
     "on mock pins; on a real board not shown: needs an oscilloscope"),
    ("F29", "wrong or missing pin factory", "test_app.py::test_without_a_pin_factory_nothing_starts", ""),
    ("F30", "the network lost or back never releases",
     "test_door_machine.py::test_no_invariant_breaks_on_any_day", ""),
    ("F31", "grants that meet", "test_door_machine.py::test_no_invariant_breaks_in_fifty_thousand_steps", ""),
    ("F32", "forced, held, not opened", "test_door_machine.py::test_held_open_warns_then_alarms", ""),
    ("F33", "short pulses, bouncing contacts", "test_door_debounce.py::test_", ""),
    ("F34", "exit button and fire", "test_door_machine.py::test_fire_frees_the_door_whatever_else_is_true",
     "the wiring that needs no software is described; not shown on a board"),
    ("F35", "schedules, passback, zones against an oracle",
     "test_door_oracle.py::test_no_decision_differs", "DOOR_CASES"),
    ("F36", "empty gallery at first boot", "test_app.py::test_a_terminal_on_which_nobody_is_enrolled_says_so", ""),
    ("F37", "failed tries", "test_door_policy.py::test_the_fifth_stranger_within_a_minute_raises_the_alarm", ""),
    ("F38", "clock at 1970 or 2099, steps of hours", "test_timekeeper.py::test_whatever_ntp_does", ""),
    ("F39", "drift", "test_timekeeper.py::test_ntp_makes_it_synced_and_its_loss_holdover", ""),
    ("F40", "TLS while the clock is lost", "test_agent_link.py::test_a_terminal_whose_clock_is_wrong_connects", ""),
    ("F41", "camera lost, frozen, dark, covered",
     "test_camera_watch.py::test_each_fault_is_noticed_within_three_seconds",
     ""),
    ("F42", "doord hangs: the relay's deadline holds",
     "test_hardware_relay.py::test_the_pin_falls_at_its_deadline_while_doord_hangs", ""),
    ("F43", "templates of another model", "test_face_gallery.py::test_a_template_of_another_model_is_refused", ""),
    ("F44", "NaN, zero, wrong dimension",
     "test_face_gallery.py::test_what_is_no_unit_vector_cannot_become_a_template", ""),
    ("F45", "liveness of one, identity of another", "test_pad_panel.py::test_", ""),
    ("F46", "time from face to relay", "", "measured, not a test: `doorctl bench`; on boards not shown"),
    ("F47", "thermal throttling", "", "not shown: needs a board"),
    ("F48", "accuracy", "", "measured, not a test: `doorctl evaluate`"),
    ("F49", "prints, screens", "test_pad_panel.py::test_", "rendered attacks are regression tests, not rates"),
    ("F50", "hostile QR codes, PINs, cards", "test_credentials_hostile.py::test_no_text_is_a_pass", "DOOR_STRINGS"),
    ("F51", "a probe of every port", "test_kiosk_server.py::test_it_listens_on_loopback_only",
     "the hub's: test_hub_broker.py; a scan of a whole image is a slow test of test_firmware_image.py"),
    ("F52", "session fixation, CSRF, guessing", "test_kiosk_server.py::test_another_pages_post_is_refused", ""),
    ("F53", "stolen card", "test_store_seal.py::test_every_flipped_bit_and_every_other_binding_is_refused",
     "what remains without a TPM is in SECURITY.md"),
    ("F54", "altered update bundles",
     "test_update_verification.py::test_every_altered_bundle_is_refused", "DOOR_MUTANTS"),
    ("F55", "power cut at each step of an update", "faults/test_update_cuts.py::test_an_update_that_is_cut_off",
     "DOOR_KILLS"),
    ("F56", "factory reset cut off", "faults/test_reset_cuts.py::test_a_factory_reset_that_is_cut_off", "DOOR_KILLS"),
    ("F57", "a claim code used twice, by a hundred at once",
     "test_hub_claims.py::test_of_a_hundred_who_bring_one_code", ""),
    ("F58", "journal rows altered", "test_store_journal.py::test_every_deleted_or_swapped_row_is_found", ""),
    ("F59", "hostile messages, files, forms", "test_hardware_relay.py::test_hostile_messages_are_refused",
     "and the parsers' own tests; ten million runs were not made"),
    ("F60", "dependencies", "test_sbom.py::test_", "pins are hashed; no vulnerability list is reachable here"),
    ("F61", "24 h soak in accelerated time, a fault a minute", "faults/test_soak.py::test_a_long_day", "DOOR_HOURS"),
    ("F62", "a hung loop is not kicked on",
     "test_hub_side.py::test_the_watchdog_is_told_only_while_vision_answers", ""),
    ("F63", "units' exposure", "test_systemd.py::test_", ""),
    ("F64", "names, PINs, keys in logs and bundles", "test_observe.py::test_a_bundle_holds_what_helps", ""),
)


def faults() -> list[str]:
    """The table's lines; KeyError where a test that it names is not there."""
    figures = json.loads((TESTS / "figures" / "faults.json").read_text(encoding="utf-8"))
    lines = ["| | fault | shown by | last counted |", "|---|---|---|---|"]
    for row, fault, place, remark in ROWS:
        said = "; ".join(filter(None, (figures.get(row, ""), f"`{remark}`" if remark.isupper() else remark)))
        lines.append(f"| {row} | {fault} | {_shown(place)} | {said} |")
    return lines


def _shown(place: str) -> str:
    if not place:
        return "–"
    file, _, name = place.partition("::")
    if not re.search(rf"^(def )?{name}", (TESTS / file).read_text(encoding="utf-8"), re.MULTILINE):
        raise KeyError(f"{file} holds no {name}")
    return f"`{file}`" + (f": `{name}`" if name != "test_" else "")
