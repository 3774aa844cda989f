"""Every fault that the product must bear, the tests that show that it does, and what was counted last.

    (row, fault, tests or none where it is not shown here, what is to be said of it or why it is not shown)

A test is `file::beginning of its name`. How often a fault is provoked is read from the tests and the Makefile;
figures are stated by the tests themselves (`fault_figures`).
"""

from __future__ import annotations

import json
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent
KINDS = {"KILLS": "kills", "CUTS": "cuts", "ORDERS": "operations", "EVENTS": "events", "HOURS": "hours",
         "FILES": "times each file", "STEPS": "steps", "DAMAGE": "copies", "CASES": "cases", "STRINGS": "texts",
         "MUTANTS": "bundles", "DAYS": "days"}
_COUNT = re.compile(r'^(\w+) = \w+\(os\.environ\.get\("DOOR_([A-Z]+)", "([0-9.]+)"\)', re.MULTILINE)

ROWS: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("F1", "doord killed while events are written",
     ("test_store_kills.py::test_no_acknowledged_entry_is_lost_by_a_kill",
      "faults/test_sync_doord_kills.py::test_doord_killed_while_it_releases"),
     ""),
    ("F2", "door-syncd, or the gallery's writer, killed",
     ("faults/test_page_kills.py::test_door_syncd_killed",
      "test_store_kills.py::test_a_killed_writer_leaves_whole_pages_only"),
     ""),
    ("F3", "power cut, writes dropped or torn",
     ("test_store_power.py::test_no_acknowledged_entry_is_lost_by_a_power",), ""),
    ("F4", "torn tails, zeroed sectors, truncated files",
     ("test_store_damage.py::test_a_damaged_", "faults/test_broken_files.py::test_"), ""),
    ("F5", "a flipped bit in a template",
     ("test_store_damage.py::test_one_flipped_bit_in_any_template_is_found",), ""),
    ("F6", "full disk while recording", ("test_store_full.py::test_a_full_disk_uses_the_reserve_then_memory",), ""),
    ("F7", "a disk that fails under way", ("test_store_full.py::test_a_disk_that_fails_under_way_is_noticed",), ""),
    ("F8", "disk remounted read-only", ("test_store_full.py::test_a_read_only_disk_is_read_and_refuses",), ""),
    ("F9", "writer, reader and checkpoint on one file",
     ("test_store_kills.py::test_a_reader_never_sees_half_a_change_of_another_process",), ""),
    ("F10", "a migration killed midway", ("test_store_kills.py::test_a_migration_killed_at_any_statement",), ""),
    ("F11", "50 000 events and 100 000 people; start on half of one core",
     ("faults/test_half_a_core.py::test_",),
     "the capacities: measured, not tests: `python -m sync.bench`, `doorctl bench --only start`"),
    ("F12", "flash wear", ("faults/test_flash_wear.py::test_",), "without what the file system and the card add"),
    ("F13", "broker killed with traffic queued", ("faults/test_sync_kills.py::test_kills_lose_nothing",), ""),
    ("F14", "hub killed", ("faults/test_sync_kills.py::test_kills_lose_nothing",), ""),
    ("F15", "partition of seconds to days", ("test_sync_world.py::test_a_partition_of_a_simulated_day",), ""),
    ("F16", "half-open connection", ("faults/test_sync_line.py::test_a_line_that_is_dead",), ""),
    ("F17", "slow, cut, noisy line", ("faults/test_sync_line.py::test_",), ""),
    ("F18", "pages doubled, reordered, replayed, in random orders with all else",
     ("faults/test_sync_orders.py::TestOrders",), ""),
    ("F19", "a message that makes a handler raise",
     ("test_hub_serve.py::test_a_message_that_makes_a_handler_raise",
      "test_agent_sync.py::test_a_message_that_makes_the_agent_fail"),
     ""),
    ("F20", "a command that comes late", ("test_orders_desk.py::test_a_command_that_comes_late_is_refused",), ""),
    ("F21", "a command replayed, or another terminal's", ("test_sync_world.py::test_a_command_twice_late",), ""),
    ("F22", "500 terminals reconnect at once", ("faults/test_reconnect_storm.py::test_",),
     "by the law of their pauses, no connections were made; after an outage of seconds they come within seconds"),
    ("F23", "backlog of 100 000 events",
     ("faults/test_flood.py::test_",), "the rate: measured, not a test: `python -m sync.bench`"),
    ("F24", "a page forged, or of an older state", ("test_sync_world.py::test_a_forged_page",), ""),
    ("F25", "a person revoked, online and offline",
     ("test_hub_side.py::test_persons_of_lapsed_groups_alone_are_unknown",), ""),
    ("F26", "deletion for good", ("test_store_slots.py::test_what_was_removed_opens_under_no_key_that_is_left",), ""),
    ("F27", "doord dies while the relay is on", ("test_app_kills.py::test_doord_killed_while_it_releases",), ""),
    ("F28", "no pulse at start or stop",
     ("test_hardware_relay.py::test_no_pulse_at_start_or_stop",),
     "on mock pins; on a real board not shown: needs an oscilloscope"),
    ("F29", "wrong or missing pin factory", ("test_app.py::test_without_a_pin_factory_nothing_starts",), ""),
    ("F30", "the network lost or back never releases",
     ("test_door_any_day.py::test_no_invariant_breaks_on_any_day",), ""),
    ("F31", "grants that meet", ("test_door_any_day.py::test_no_invariant_breaks_on_any_day",), ""),
    ("F32", "forced, held, not opened", ("test_door_machine.py::test_held_open_warns_then_alarms",), ""),
    ("F33", "short pulses, bouncing contacts", ("test_door_debounce.py::test_",), ""),
    ("F34", "exit button and fire",
     ("test_door_machine.py::test_fire_frees_the_door_whatever_else_is_true",),
     "the wiring that needs no software is described; not shown on a board"),
    ("F35", "schedules, passback, zones against an oracle", ("test_door_oracle.py::test_no_decision_differs",), ""),
    ("F36", "empty gallery at first boot", ("test_app.py::test_a_terminal_on_which_nobody_is_enrolled_says_so",), ""),
    ("F37", "failed tries", ("test_door_policy.py::test_the_fifth_stranger_within_a_minute_raises_the_alarm",), ""),
    ("F38", "clock at 1970 or 2099, steps of hours",
     ("faults/test_clock_steps.py::test_", "test_timekeeper.py::test_whatever_ntp_does"), ""),
    ("F39", "drift", ("test_timekeeper.py::test_ntp_makes_it_synced_and_its_loss_holdover",), ""),
    ("F40", "TLS while the clock is lost",
     ("test_agent_link.py::test_a_terminal_whose_clock_is_wrong_connects",), ""),
    ("F41", "camera lost, frozen, dark, covered",
     ("test_camera_watch.py::test_each_fault_is_noticed_within_three_seconds",), ""),
    ("F42", "doord hangs in a call, or as a whole",
     ("faults/test_hangs.py::test_an_inference_that_hangs",
      "test_hardware_relay.py::test_the_pin_falls_at_its_deadline_while_doord_hangs"),
     ""),
    ("F43", "templates of another model", ("test_face_gallery.py::test_a_template_of_another_model_is_refused",), ""),
    ("F44", "NaN, zero, wrong dimension",
     ("test_face_gallery.py::test_what_is_no_unit_vector_cannot_become_a_template",), ""),
    ("F45", "liveness of one, identity of another", ("test_pad_panel.py::test_",), ""),
    ("F46", "time from face to relay", (), "measured, not a test: `doorctl bench`; on boards not shown"),
    ("F47", "thermal throttling", (), "not shown: needs a board"),
    ("F48", "accuracy", (), "measured, not a test: `doorctl evaluate`"),
    ("F49", "prints, screens", ("test_pad_panel.py::test_",), "rendered attacks are regression tests, not rates"),
    ("F50", "hostile QR codes, PINs, cards", ("test_credentials_hostile.py::test_no_text_is_a_pass",), ""),
    ("F51", "a probe of every port",
     ("faults/test_listeners.py::test_",
      "test_hub_api.py::test_every_",
      "test_hub_broker.py::test_nobody_connects_without"),
     "a scan of a whole image is a slow test of test_firmware_image.py"),
    ("F52", "session fixation, CSRF, guessing", ("test_kiosk_server.py::test_another_pages_post_is_refused",), ""),
    ("F53", "stolen card",
     ("faults/test_canaries.py::test_a_stolen_card",
      "test_store_seal.py::test_every_flipped_bit_and_every_other_binding_is_refused"),
     "what remains without a TPM is in SECURITY.md"),
    ("F54", "altered update bundles", ("test_update_verification.py::test_every_altered_bundle_is_refused",), ""),
    ("F55", "power cut at each step of an update",
     ("faults/test_update_cuts.py::test_an_update_that_is_cut_off",), ""),
    ("F56", "factory reset cut off", ("faults/test_reset_cuts.py::test_a_factory_reset_that_is_cut_off",), ""),
    ("F57", "a claim code used twice, by a hundred at once",
     ("test_hub_claims.py::test_of_a_hundred_who_bring_one_code",), ""),
    ("F58", "journal rows altered", ("test_store_journal.py::test_every_deleted_or_swapped_row_is_found",), ""),
    ("F59", "hostile messages, files, forms",
     ("test_hardware_relay.py::test_hostile_messages_are_refused",),
     "and the parsers' own tests; ten million runs were not made"),
    ("F60", "dependencies", ("test_sbom.py::test_",), "pins are hashed; no vulnerability list is reachable here"),
    ("F61", "24 h soak in accelerated time, a fault a minute", ("faults/test_soak.py::test_a_long_day",), ""),
    ("F62", "a hung loop is not kicked on",
     ("faults/test_hangs.py::test_an_inference_that_holds",
      "test_hub_side.py::test_the_watchdog_is_told_only_while_vision_answers"),
     ""),
    ("F63", "units' exposure", ("test_systemd.py::test_",), ""),
    ("F64", "names, PINs, keys in logs and bundles",
     ("faults/test_canaries.py::test_nothing_that_a_terminal_says",
      "test_observe.py::test_a_bundle_holds_what_helps"),
     ""),
)


def faults() -> list[str]:
    """The table's lines; KeyError where a test that it names is not there."""
    figures = json.loads((TESTS / "figures" / "faults.json").read_text(encoding="utf-8"))
    in_full = full_counts((TESTS.parent / "Makefile").read_text(encoding="utf-8"))
    lines = ["| | fault | shown by | in `make test`, `make faults` | last counted |", "|---|---|---|---|---|"]
    for row, fault, places, remark in ROWS:
        counted = [said for name, said in figures.items() if re.fullmatch(f"{row}[a-z]?", name)]
        shown, often = map(_shown, places), (_often(place, in_full) for place in places)
        lines.append(f"| {row} | {fault} | {'<br>'.join(shown) or '–'} | {'<br>'.join(often)} | "
                     f"{'; '.join(filter(None, (*counted, remark)))} |")
    return lines


def full_counts(makefile: str) -> dict[tuple[str, str], str]:
    """(test's file, kind of count) -> how many in `make faults` and the parts that it is made of (`faults-...`)."""
    text = makefile.replace("\\\n", " ")
    for name, value in re.findall(r"^([A-Z_]+) := (.*)$", text, re.MULTILINE):
        text = text.replace(f"$({name})", value)
    recipes = re.findall(r"^faults[a-z-]*:.*\n((?:\t.*\n)+)", text, re.MULTILINE)
    found = {}
    for line in "".join(recipes).splitlines():
        counts = re.findall(r"\bDOOR_([A-Z]+)=([0-9.]+)", line)
        for file in re.findall(r"tests/(\S+\.py)", line):
            found.update({(file, kind): count for kind, count in counts})
    return found


def _often(place: str, in_full: dict[tuple[str, str], str]) -> str:
    """`20, 1000 kills`; once where the test counts nothing."""
    file, _, name = place.partition("::")
    text = (TESTS / file).read_text(encoding="utf-8")
    found = _COUNT.search(text)
    own = text if name == "test_" or name.startswith("Test") else _body(text, name)
    if found is None or found[2] not in KINDS or found[1] not in own:
        return "once, in `make slow`" if f"@pytest.mark.slow\ndef {name}" in text and name != "test_" else "once"
    full = in_full.get((file, found[2]))
    return f"{found[3]}{f', {full}' if full else ''} {KINDS[found[2]]}"


def _body(text: str, name: str) -> str:
    """The functions whose names begin so, up to what follows them."""
    return "".join(re.findall(rf"^def {name}.*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL))


def _shown(place: str) -> str:
    file, _, name = place.partition("::")
    if not re.search(rf"^(def )?{name}", (TESTS / file).read_text(encoding="utf-8"), re.MULTILINE):
        raise KeyError(f"{file} holds no {name}")
    return f"`{file}`" + (f": `{name}`" if name != "test_" else "")
