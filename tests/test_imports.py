"""Who may import whom: the rules of the house that import-linter's contracts in pyproject.toml do not cover."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Each third-party library has one home: the only files or folders that may import it.
HOMES = {
    "gpiozero": ["device/hardware/"],
    "lgpio": ["device/hardware/"],
    "gpiod": ["device/hardware/"],
    "paho": ["sync/agent/link.py", "sync/hub/carrier.py", "sync/hub/home_link.py"],
    "ai_edge_litert": ["device/face/runtime.py", "device/packs/flatbuffer.py"],
    "tflite_runtime": ["device/face/runtime.py"],
    "sqlite3": ["device/store/"],
    "sqlite_utils": ["device/store/"],
    "sqlalchemy": ["sync/hub/"],
    "picamera2": ["device/camera/picamera.py"],
    "libcamera": ["device/camera/picamera.py"],
    "cryptography": ["sync/wire/", "device/credentials/", "device/store/seal.py", "device/store/trust.py",
                     "device/store/slots.py", "device/rehearsal/player.py", "device/update/making/keys.py",
                     "sync/hub/ca.py"],
    "simsimd": ["device/face/kernels.py"],
    "numba": ["device/face/kernels.py"],
    "matplotlib": ["device/evaluate/plots.py", "device/evaluate/pad_plot.py"],
    "PIL": ["device/face/photo.py", "device/camera/files.py"],
    "msgspec": ["sync/", "device/store/orders.py", "device/store/trust", "device/credentials/qr_pass.py"],
    "argon2": ["device/credentials/pin.py"],
    "osdp": ["device/hardware/"],
    "osdp_sys": ["device/hardware/"],
    "openpyxl": ["device/spreadsheet.py"],
    "prometheus_client": ["device/observe/metrics.py", "sync/hub/metrics.py"],
    "starlette": ["device/kiosk/", "sync/hub/"],
}
TIME = ("device/clock.py", "device/packs/", "device/commands/", "device/evaluate/")


def sources() -> Iterator[Path]:
    for folder in ("device", "sync"):
        yield from sorted((ROOT / folder).rglob("*.py"))


@cache
def imported(path: Path) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


@pytest.mark.parametrize("library", HOMES)
def test_a_third_party_library_is_imported_in_its_home_only(library: str) -> None:
    strays = []
    for path in sources():
        place = path.relative_to(ROOT).as_posix()
        if library in {name.split(".")[0] for name in imported(path)} and not place.startswith(tuple(HOMES[library])):
            strays.append(place)
    assert not strays


def test_the_door_imports_only_the_standard_library_and_its_two_neighbours() -> None:
    allowed = ("device.door", "device.sighting", "device.store.records", "device.clock")
    for path in sorted((ROOT / "device" / "door").glob("*.py")):
        for name in imported(path):
            first = name.split(".")[0]
            assert first in sys.stdlib_module_names or name.startswith(allowed), f"{path.name} imports {name}"


def test_only_the_commands_and_the_rehearsal_import_the_app_and_nothing_imports_the_cli() -> None:
    for path in sources():
        place = path.relative_to(ROOT).as_posix()
        names = imported(path)
        assert "device.cli" not in names, place
        if not place.startswith(("device/commands/", "device/rehearsal/", "device/evaluate/", "device/app.py",
                                 "device/condition.py")):
            assert not {"device.app", "device.terminal"} & names, place


def test_only_the_clock_asks_for_the_time() -> None:
    for path in sources():
        place = path.relative_to(ROOT).as_posix()
        if place.startswith(TIME) or not place.startswith("device/"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                called = ast.unparse(node.func)
                assert called not in ("time.time", "time.monotonic", "datetime.now", "datetime.utcnow",
                                      "datetime.datetime.now"), f"{place} calls {called}"


def test_the_terminal_works_where_sync_cannot_be_imported() -> None:
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'sync': raise ImportError('no sync here')\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "import device.app, device.cli\n"
        "device.cli.build_parser()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_importing_the_terminal_pulls_in_nothing_heavy() -> None:
    code = ("import sys, device, device.config, device.sighting, device.door.policy, device.door.machine\n"
            "heavy = {'numpy', 'cv2', 'gpiozero', 'ai_edge_litert', 'cryptography', 'sqlite_utils'}\n"
            "sys.exit(', '.join(heavy & set(sys.modules)) or 0)")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
