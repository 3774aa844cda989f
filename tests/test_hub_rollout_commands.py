"""`fleethub rollout`, and the same over the API: who may, what is refused, what is noted."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hub_samples import Client, open_hub
from update_samples import HERE, OURS, root, signers, tiny_bundle

from device.clock import HandClock
from sync.hub import bundles, cli
from sync.hub.api import application

API = "/api/v1"


@pytest.fixture
def hub(tmp_path, tmp_path_factory):
    made = open_hub(tmp_path / "hub", tmp_path_factory)
    for name in ("t1", "t2", "t3"):
        made.fleet.add(name, "hq", ("staff",))
    yield made
    made.close()


@pytest.fixture
def fleethub(hub, monkeypatch, capsys):
    """Runs a command on that hub; (exit code, stdout, stderr)."""
    monkeypatch.setenv("FLEETHUB_STATE", str(hub.where.root))
    monkeypatch.setattr("sync.hub.commands.opened.SystemClock", HandClock)

    def run(*arguments):
        try:
            code = cli.main(["rollout", *map(str, arguments)])
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def trusted(fleethub, tmp_path):
    path = tmp_path / "1.root.json"
    path.write_bytes(root(OURS))
    assert fleethub("trust", path)[0] == 0
    return path


def test_a_roll_out_from_the_shell(fleethub, trusted, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path, "1.2.0")
    code, out, _ = fleethub("start", bundle, "--group", "staff", "--stages", "1,100%", "--soak", 30,
                            "--max-failures", 1, "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["sizes"], found["soak_minutes"], found["max_failures"]) == ([1, 3], 30, 1)
    name = found["rollout_id"]
    assert fleethub("pause", name, "--why", "a holiday")[:2] == (
        0, f"rollout {name}  1.2.0 for {HERE.words}  paused  stage 1 of 2  0 of 3 updated  a holiday\n")
    assert fleethub("status")[0] == 1
    assert fleethub("resume", name)[0] == 0
    code, out, _ = fleethub("status", name)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:4]] == ["t1", "t2", "t3"]
    assert [line.split("Z  ")[1] for line in out.splitlines()[4:]] == [
        "started by cli  1,100%, soak 0:30:00, at most 1 failures", "paused by cli  a holiday", "running by cli"]
    assert fleethub("discard", bundle.name)[2].endswith("is being rolled out; stop that first\n")
    assert fleethub("stop", name)[0] == 0
    assert fleethub("resume", name) == (1, "", f"fleethub: rollout {name} is stopped\n")
    assert fleethub("discard", bundle.name)[0] == 0
    assert fleethub("discard")[1].endswith("its file is gone\n")


def test_a_bundle_that_was_added_is_started_by_its_name(fleethub, trusted, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path, "1.2.0")
    assert fleethub("add", bundle)[0] == 0
    bundle.unlink()
    code, out, _ = fleethub("start", bundle.name, "--terminals", "t2,t1", "--json")
    assert code == 0
    assert [one["terminal_id"] for one in json.loads(out)["members"]] == ["t2", "t1"]
    assert fleethub("start", "nothing.bundle", "--terminals", "t3")[2] == (
        "fleethub: nothing.bundle: no such file, and no bundle of that name was added\n")


def test_refusals_are_one_line(fleethub, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path, "1.2.0")
    code, _, err = fleethub("start", bundle, "--group", "staff")
    assert (code, err.count("\n")) == (1, 1) and "rollout trust" in err
    (tmp_path / "root.json").write_text("{}")
    assert fleethub("trust", tmp_path / "root.json")[0] == 2
    (tmp_path / "root.json").write_bytes(root("theirs"))
    assert fleethub("trust", tmp_path / "root.json")[0] == 0
    code, _, err = fleethub("start", bundle, "--group", "staff")
    assert (code, err.count("\n")) == (1, 1) and err.startswith("fleethub: the bundle")
    (tmp_path / "text.bundle").write_text("a letter")
    assert "is not an update bundle" in fleethub("add", tmp_path / "text.bundle")[2]
    (tmp_path / "link.bundle").symlink_to(bundle)
    assert "is a link" in fleethub("add", tmp_path / "link.bundle")[2]
    assert fleethub("start", bundle, "--group", "staff", "--terminals", "t1")[0] == 2
    assert fleethub("start", bundle, "--group", "staff", "--soak", "-1")[0] == 2
    assert fleethub("start", bundle, "--group", "staff", "--soak", "nan")[0] == 2
    assert fleethub("status", "nosuch")[0] == 1


def test_a_full_disk_takes_no_bundle(fleethub, trusted, hub, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(bundles, "free_bytes", lambda path: 1000)
    code, _, err = fleethub("add", tiny_bundle(tmp_path, "1.2.0"))
    assert code == 1 and "no room for a bundle" in err
    assert {path.name for path in hub.where.updates.iterdir()} == {"root.json"}


def test_what_a_killed_adding_left_goes_with_the_next_one_after_a_day(trusted, hub, tmp_path: Path) -> None:
    for name, age_s in (("adding-old", 90_000), ("adding-now", 60)):
        (hub.where.updates / name).mkdir()
        at = hub.clock.now().timestamp() - age_s
        os.utime(hub.where.updates / name, (at, at))
    hub.bundles.add(tiny_bundle(tmp_path, "1.2.0"))
    assert {path.name for path in hub.where.updates.glob("adding-*")} == {"adding-now"}


def test_roll_outs_over_the_api_by_who_may(hub, tmp_path: Path) -> None:
    (tmp_path / "root.json").write_bytes(root(OURS))
    hub.bundles.trust(tmp_path / "root.json")
    kept = hub.bundles.add(tiny_bundle(tmp_path, "1.2.0"))
    app = application(hub)
    tokens = {scope: hub.tokens.make(scope) for scope in ("read", "write", "admin")}
    read, write, admin = (Client(app, tokens[scope][0]) for scope in ("read", "write", "admin"))
    assert [one["name"] for one in read.get(f"{API}/bundles").json()] == [kept.name]
    asked = {"bundle": kept.sha256[:12], "groups": ["staff"], "stages": "1,100%", "soak_minutes": 5}
    assert write.post(f"{API}/rollouts", json=asked).status_code == 403
    made = admin.post(f"{API}/rollouts", json=asked)
    assert made.status_code == 201
    where = f"{API}/rollouts/{made.json()['rollout_id']}"
    assert read.get(where).json() == made.json() == read.get(f"{API}/rollouts").json()[0]
    assert (made.json()["stage"], made.json()["sizes"], made.json()["phase"]) == (1, [1, 3], "running")
    assert read.post(f"{where}/pause", json={}).status_code == 403
    assert write.post(f"{where}/pause", json={"why": "lunch"}).json()["phase"] == "paused"
    assert write.post(f"{where}/resume").status_code == 403
    assert admin.post(f"{where}/resume").json()["phase"] == "running"
    assert write.post(f"{where}/stop", json={"why": "enough"}).json()["phase"] == "stopped"
    assert admin.post(f"{where}/resume").status_code == 409
    ids = {scope: token.token_id for scope, (_, token) in tokens.items()}
    assert [(step["what"], step["by"]) for step in read.get(f"{where}/steps").json()] == [
        ("started", ids["admin"]), ("paused", ids["write"]), ("running", ids["admin"]), ("stopped", ids["write"])]


@pytest.mark.parametrize(("changes", "code"), [
    ({"bundle": "nothing"}, 404), ({"groups": ["nobody"]}, 404), ({"terminals": ["t1"]}, 422), ({"stages": "x"}, 422),
    ({"soak_minutes": -1}, 422), ({"max_failures": -1}, 422), ({"speed": 9}, 422), ({"groups": []}, 422)])
def test_what_cannot_be_is_refused_over_the_api(hub, tmp_path: Path, changes: dict, code: int) -> None:
    (tmp_path / "root.json").write_bytes(root(OURS))
    hub.bundles.trust(tmp_path / "root.json")
    kept = hub.bundles.add(tiny_bundle(tmp_path, "1.2.0"))
    client = Client(application(hub), hub.tokens.make("admin")[0])
    asked = {"bundle": kept.name, "groups": ["staff"], **changes}
    assert client.post(f"{API}/rollouts", json=asked).status_code == code
    assert client.get(f"{API}/rollouts").json() == []


def test_bundles_for_two_kinds_of_machine_are_added_in_any_order(hub, tmp_path: Path) -> None:
    (tmp_path / "root.json").write_bytes(root(OURS))
    hub.bundles.trust(tmp_path / "root.json")
    both = [tiny_bundle(tmp_path, "1.2.0", arch=arch, keys=signers(OURS)) for arch in ("x86_64", "aarch64")]
    for path in (*both, both[0]):
        hub.bundles.add(path)
    assert sorted(one.machine.split()[0] for one in hub.bundles.all()) == ["aarch64", "x86_64"]
