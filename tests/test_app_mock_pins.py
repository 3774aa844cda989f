"""doord where there are no pins: it says so once, and every effect is a line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from device.face.card import Card
from device.store.latch import FireLatch
from device.store.places import make_folders, places

DOORD = (sys.executable, "-c", "import sys; from device.app import main; sys.exit(main())")


@pytest.mark.parametrize("options", [(), ("--verbose",)], ids=["quiet", "verbose"])
def test_on_mock_pins_every_effect_is_printed_after_one_warning(tmp_path: Path, pack: Card,
                                                                options: tuple[str, ...]) -> None:
    surroundings = {**os.environ, "DOOR_STATE": str(tmp_path / "state"), "GPIOZERO_PIN_FACTORY": "mock"}
    surroundings.pop("JOURNAL_STREAM", None)
    where = places(surroundings)
    make_folders(where)
    FireLatch(where.fire).set(True)  # so that the door is free from the start
    (tmp_path / "stills").mkdir()
    config = tmp_path / "terminal.toml"
    config.write_text(f'[door]\nlock = "maglock"\n[camera]\nsource = "{tmp_path / "stills"}"\n')
    lines = []
    with subprocess.Popen([*DOORD, "--config", str(config), *options], stderr=subprocess.PIPE, text=True,
                          env=surroundings) as process:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line.rstrip())
            if line.startswith("INFO device.app.effects: relay ON"):
                process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
    assert lines.count("WARNING device.app.effects: pins are mock: nothing is moved") == 1
    effects = [line.partition(": ")[2] for line in lines if "device.app.effects" in line]
    assert effects[0] == "pins are mock: nothing is moved"
    assert any(effect.startswith("relay ON for") for effect in effects)
    assert any(effect.startswith("lamp green_blink") for effect in effects)
