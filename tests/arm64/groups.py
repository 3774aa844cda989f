"""What is run under emulation, which takes ten to twenty times as long, and what each group is to show there.

Left out, unless everything is asked for: what does not depend on the processor or on the version of Python any
further than these do (policy, texts, pages, figures), what needs a browser, and what measures time.
"""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent

GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "packs": ("the converters, their independent counterparts (dlib's own wheel), readers of foreign formats",
              ("test_packs_*.py", "test_command_models.py")),
    "networks": ("LiteRT, OpenCV and numpy: detection, landmarks, alignment, templates, liveness",
                 ("test_face_detect.py", "test_face_landmarks.py", "test_face_align.py", "test_face_extract.py",
                  "test_face_pad_passive.py", "test_face_photo.py", "test_face_portrait.py", "test_face_quality.py",
                  "test_pad_light.py", "test_pad_fusion.py")),
    "matcher": ("every kernel that this processor can run, the compiled one as well, and all give one order",
                ("test_face_match.py", "test_face_kernels.py", "test_face_kernel_choice.py", "test_face_gallery.py",
                 "test_face_threshold.py")),
    "store": ("SQLite, sealing, the journal's chain, damage, kills and power cuts",
              ("test_store_*.py", "test_credentials_*.py")),
    "wire": ("every message of the wire samples, seals, signatures, digests; hub and terminal become equal",
             ("test_wire_*.py", "test_wiretest.py", "test_agent_keys.py", "test_agent_heads.py",
              "test_agent_journal.py", "test_agent_sync.py", "test_sync_world.py")),
    "updates": ("bundles are made, verified and refused",
                ("test_update_bundle.py", "test_update_parcel.py", "test_update_release.py", "test_update_gate.py",
                 "test_update_verification.py", "test_update_selfcheck.py", "test_update_time_floor.py")),
    "hardware": ("the relay's process and its deadline, readers, OSDP's own library",
                 ("test_hardware_relay.py", "test_hardware_osdp.py", "test_hardware_wiegand*.py",
                  "test_hardware_board.py", "test_hardware_headers.py")),
    "daemons": ("hub and broker as processes, the units, every program's first words",
                ("test_agent_link.py", "test_hub_broker.py", "test_hub_serve.py", "test_systemd.py", "test_cli.py")),
    "door": ("what was installed, started by its units' own command lines: doord opens the door; door-syncd as a "
             "process, whose commands hold for ten seconds; time is slowed",
             ("test_app.py", "test_install.py", "test_agent_live.py")),
}

COUNTS = {"DOOR_KILLS": "2", "DOOR_CUTS": "10", "DOOR_DAMAGE": "10", "DOOR_CASES": "100", "DOOR_STRINGS": "500",
          "DOOR_MUTANTS": "50", "DOOR_SLOWER": "10"}
"""How often things are killed, cut and altered, and how much longer they may take."""

SLOWED, RATE = "door", 0.1
"""In this group time passes for every process at this rate: emulated, the networks take two seconds for a look at a
face, and doord would rightly end itself as hung, and forget whom it saw before the next look. At this rate they take
as long as on a Raspberry Pi, as far as doord can tell."""
SLOWED_COUNTS = {**COUNTS, "DOOR_SLOWER": "4"}


def files(group: str) -> list[str]:
    """Its test files, relative to the checkout."""
    return sorted(f"tests/{path.name}" for pattern in GROUPS[group][1] for path in TESTS.glob(pattern))


def everything() -> list[str]:
    """All test files but those for which time is slowed."""
    found = {path.relative_to(TESTS.parent).as_posix()
             for path in (*TESTS.glob("test_*.py"), *TESTS.glob("faults/test_*.py"))}
    return sorted(found - set(files(SLOWED)))


LEFT_OUT: dict[str, str] = {}
"""Tests that emulation cannot run -> why."""
