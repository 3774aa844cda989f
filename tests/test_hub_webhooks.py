"""Webhooks: what a receiver is told, in order and at least once, and what no receiver can do to the hub."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hook_receiver import Receiver, Rogue
from hub_samples import Client, blank_state, li_wei, open_hub
from journal_samples import JOURNAL, PERSON, Journal
from sync_samples import SITE, WireTerminal, enrol, wait_until

from device.clock import HandClock, SystemClock
from sync.hub import cli
from sync.hub.api import application
from sync.hub.errors import FieldRefused, InTheWay, NotThere
from sync.hub.hub import Hub
from sync.hub.messenger import Messenger, try_out
from sync.hub.places import places
from sync.hub.serve import Options, Service
from sync.hub.tidings import signature
from sync.hub.webhooks import MOST

API = "/api/v1"


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def hub(tmp_path, tmp_path_factory, clock):
    made = open_hub(tmp_path / "hub", tmp_path_factory, clock)
    made.fleet.add("door-1", "hq", ["staff"])
    yield made
    made.close()


@pytest.fixture
def receiver(tmp_path):
    made = Receiver(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def sender(hub, clock):
    made = Messenger(hub, clock, lambda: 1.0)
    yield made
    made.stop()


def store(hub: Hub, rows) -> None:
    hub.events.store("door-1", JOURNAL, rows)


def added(hub: Hub, receiver: Receiver, kinds=()) -> tuple[str, str]:
    """(secret, id)"""
    secret, kept = hub.webhooks.add(receiver.url, kinds, receiver.ca, may_loopback=True)
    return secret, kept.webhook_id


# --- what is told ----------------------------------------------------------------------------------------


def test_events_are_told_in_order_over_tls_each_with_a_signature_that_holds(hub, receiver, sender, clock):
    secret, webhook_id = added(hub, receiver)
    journal = Journal()
    store(hub, journal.rows("face_granted", "card_granted", area="hall", rule="staff"))
    store(hub, journal.rows(("alarm", "forced_open"), person_id=None))
    sender.deliver(webhook_id)
    assert [(one.path, one.data["seq"], one.data["reason"]) for one in receiver.got] == [
        ("/doors?site=hq", 1, "face_granted"), ("/doors?site=hq", 2, "card_granted"),
        ("/doors?site=hq", 3, "forced_open")]
    assert all(one.is_signed(secret) for one in receiver.got)
    first = json.loads(receiver.got[0].body)
    assert (first["type"], first["timestamp"]) == ("door.release", "2026-01-05T08:00:01+00:00")
    assert first["data"]["detail"] == {"area": "hall", "rule": "staff"}
    assert first["data"]["person_id"] == PERSON
    assert receiver.got[0].headers["webhook-timestamp"] == str(int(clock.now().timestamp()))
    one = hub.webhooks.get(webhook_id)
    assert (one.state, one.delivered, one.waiting) == ("well", 3, 0)
    assert hub.webhooks.due() == []


def test_a_signature_is_the_one_of_standard_webhooks():
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}') == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")


def test_the_receiver_in_the_readme_believes_what_the_hub_signs_and_nothing_else(hub, receiver, sender):
    text = (Path(__file__).parent.parent / "sync" / "hub" / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    names = {}
    exec(example, names)  # noqa: S102
    is_genuine = names["is_genuine"]
    secret, webhook_id = added(hub, receiver)
    store(hub, Journal().rows("face_granted"))
    sender.deliver(webhook_id)
    (got,) = receiver.got
    now = int(got.headers["webhook-timestamp"])
    assert is_genuine(got.headers, got.body, secret, now + 299)
    assert is_genuine({**got.headers, "webhook-signature": "v1a,x v1,y " + got.headers["webhook-signature"]},
                      got.body, secret, now)
    assert not is_genuine(got.headers, got.body, secret, now + 301)
    assert not is_genuine(got.headers, got.body, secret, now - 301)
    assert not is_genuine(got.headers, got.body + b" ", secret, now)
    assert not is_genuine({**got.headers, "webhook-id": "evt_other"}, got.body, secret, now)
    assert not is_genuine({**got.headers, "webhook-signature": ""}, got.body, secret, now)
    assert not is_genuine({**got.headers, "webhook-timestamp": "soon"}, got.body, secret, now)


def test_a_forged_body_id_or_time_has_no_signature_that_holds(hub, receiver, sender):
    secret, webhook_id = added(hub, receiver)
    store(hub, Journal().rows("face_granted"))
    sender.deliver(webhook_id)
    (got,) = receiver.got
    assert got.is_signed(secret)
    assert not got.is_signed("whsec_" + "A" * 44)
    stamp = got.headers["webhook-timestamp"]
    for name, value in (("webhook-id", "evt_other"), ("webhook-timestamp", str(int(stamp) + 1))):
        kept, got.headers[name] = got.headers[name], value
        assert not got.is_signed(secret)
        got.headers[name] = kept
    got.body = got.body.replace(b"door-1", b"door-2")
    assert not got.is_signed(secret)


def test_only_the_kinds_that_were_asked_for_are_told_and_the_rest_holds_up_nothing(hub, receiver, sender):
    _, webhook_id = added(hub, receiver, ["alarm"])
    journal = Journal()
    store(hub, journal.rows("face_granted", ("alarm", "tamper"), "face_granted"))
    sender.deliver(webhook_id)
    assert [one.data["reason"] for one in receiver.got] == ["tamper"]
    assert hub.webhooks.due() == []


def test_what_happened_before_is_not_told_and_nothing_is_kept_where_nobody_asks(hub, receiver, sender):
    journal = Journal()
    store(hub, journal.rows("face_granted"))
    _, webhook_id = added(hub, receiver)
    assert hub.webhooks.due() == []
    store(hub, journal.rows("card_granted"))
    sender.deliver(webhook_id)
    assert [one.data["seq"] for one in receiver.got] == [2]
    hub.webhooks.remove(webhook_id)
    store(hub, journal.rows("card_granted"))
    assert hub.outbox.head() == 0


def test_no_name_no_score_and_no_text_of_a_terminal_comes_through(hub, receiver, sender):
    enrol(hub, 1)
    hub.people.add(li_wei())
    _, webhook_id = added(hub, receiver)
    journal = Journal()
    store(hub, journal.rows("face_granted", score=0.73125, model="CANARY", why="CANARY Li Wei", area="CANARY Li Wei",
                            company="CANARY", methods="face+card"))
    store(hub, journal.rows(("CANARY kind", "CANARY Li Wei"), person_id="CANARY Li Wei"))
    sender.deliver(webhook_id)
    assert len(receiver.got) == 2
    said = b"".join(one.body + json.dumps(one.headers).encode() for one in receiver.got)
    assert b"CANARY" not in said
    assert b"0.73" not in said
    assert receiver.got[0].data["detail"] == {"methods": "face+card"}
    assert (receiver.got[1].data["kind"], receiver.got[1].data["person_id"]) == ("unknown", None)


def test_secret_and_address_are_nowhere_in_the_clear(hub, receiver, tmp_path):
    secret, _ = added(hub, receiver)
    files = b"".join(path.read_bytes() for path in (tmp_path / "hub").rglob("*") if path.is_file())
    for canary in (secret.encode(), secret[6:].encode(), b"/doors?site"):
        assert canary not in files


# --- when it is not taken --------------------------------------------------------------------------------


def test_what_is_not_taken_is_told_again_after_pauses_that_double_and_nothing_else_before_it(
        hub, receiver, sender, clock):
    secret, webhook_id = added(hub, receiver)
    receiver.answers = lambda number: 503 if number < 3 else 200
    store(hub, Journal().rows("face_granted", "card_granted"))
    pauses = []
    for _ in range(3):
        assert hub.webhooks.due() == [webhook_id]
        sender.deliver(webhook_id)
        assert hub.webhooks.due() == []
        one = hub.webhooks.get(webhook_id)
        assert (one.state, one.problem) == ("failing", "answers 503")
        pauses.append((one.again - clock.now()).total_seconds())
        clock.advance(pauses[-1])
    assert pauses == [2, 4, 8]
    sender.deliver(webhook_id)
    assert [one.data["seq"] for one in receiver.got] == [1, 1, 1, 1, 2]
    assert len({one.id for one in receiver.got}) == 2
    stamps = [int(one.headers["webhook-timestamp"]) for one in receiver.got[:4]]
    assert [later - earlier for earlier, later in pairwise(stamps)] == [2, 4, 8]
    assert all(one.is_signed(secret) for one in receiver.got)
    assert hub.webhooks.get(webhook_id).state == "well"


def test_a_pause_is_between_half_and_all_of_it_at_most_an_hour_and_as_long_as_the_receiver_asks(hub, clock):
    low, high = Messenger(hub, clock, lambda: 0.0), Messenger(hub, clock, lambda: 1.0)
    assert [low._pause_s(tries, 0) for tries in (1, 2, 5)] == [1, 2, 16]
    assert [high._pause_s(tries, 0) for tries in (1, 2, 5, 40, 100_000)] == [2, 4, 32, 3600, 3600]
    assert low._pause_s(1, 90) == 90
    assert low._pause_s(1, 999_999) == 3600
    low.stop()
    high.stop()


def test_an_event_that_is_refused_as_such_is_passed_over_after_five_times(hub, receiver, sender, clock):
    _, webhook_id = added(hub, receiver)
    receiver.answers = lambda number: 422 if receiver.got[number].data["seq"] == 1 else 200
    store(hub, Journal().rows("face_granted", "card_granted"))
    for _ in range(6):
        sender.deliver(webhook_id)
        clock.advance(3600)
    assert [one.data["seq"] for one in receiver.got] == [1, 1, 1, 1, 1, 2]
    one = hub.webhooks.get(webhook_id)
    assert (one.state, one.delivered, one.passed_over, one.waiting) == ("well", 1, 1, 0)


def test_after_three_days_without_success_it_is_given_up_until_somebody_resumes_it(hub, receiver, sender, clock):
    _, webhook_id = added(hub, receiver)
    receiver.answers = lambda number: 500
    journal = Journal()
    store(hub, journal.rows("face_granted", "card_granted"))
    begun = clock.now()
    while hub.webhooks.get(webhook_id).state != "given up":
        if hub.webhooks.due():
            sender.deliver(webhook_id)
        clock.advance(600)
        assert clock.now() - begun < timedelta(days=4)
    assert clock.now() - begun >= timedelta(days=3)
    one = hub.webhooks.get(webhook_id)
    assert (one.waiting, one.passed_over) == (0, 2)
    assert "three days without success: answers 500" in one.problem
    tried = len(receiver.got)
    store(hub, journal.rows("face_granted"))
    assert hub.webhooks.due() == []
    receiver.answers = lambda number: 200
    assert hub.webhooks.resume(webhook_id).state == "well"
    assert hub.webhooks.due() == []
    store(hub, journal.rows("face_granted"))
    sender.deliver(webhook_id)
    assert [got.data["seq"] for got in receiver.got[tried:]] == [4]


def test_a_clock_that_leaps_gives_nobody_up_and_one_that_is_put_right_makes_nobody_wait(hub, receiver, sender, clock):
    _, webhook_id = added(hub, receiver)
    receiver.answers = lambda number: 500
    store(hub, Journal().rows("face_granted"))
    sender.deliver(webhook_id)
    clock.step_wall(86400 * 4000)
    sender.deliver(webhook_id)
    assert hub.webhooks.get(webhook_id).state == "failing"
    clock.step_wall(-86400 * 4000)
    assert hub.webhooks.due() == [webhook_id]


def test_a_receiver_that_is_gone_for_good_is_given_up_at_once(hub, receiver, sender):
    _, webhook_id = added(hub, receiver)
    receiver.answers = lambda number: 410
    store(hub, Journal().rows("face_granted"))
    sender.deliver(webhook_id)
    assert hub.webhooks.get(webhook_id).state == "given up"


def test_a_redirect_is_not_followed(hub, receiver, sender, tmp_path):
    elsewhere = Receiver()
    _, webhook_id = added(hub, receiver)
    receiver.answers = lambda number: (307, {"Location": elsewhere.url})
    store(hub, Journal().rows("face_granted"))
    sender.deliver(webhook_id)
    assert elsewhere.got == []
    assert hub.webhooks.get(webhook_id).problem == "answers 307, a redirect, which is not followed"
    elsewhere.stop()


# --- across restarts, beside others ----------------------------------------------------------------------

CHILD = """
import sys
from journal_samples import JOURNAL, Journal
from device.clock import SystemClock
from sync.hub.messenger import Messenger
from sync.hub.hub import Hub
from sync.hub.places import places
from pathlib import Path
hub = Hub.open(places(root=Path(sys.argv[1])), SystemClock(), {})
sender = Messenger(hub, SystemClock())
sender.start()
journal, stored = Journal(), hub.events.tip("door-1", JOURNAL)[0]
rows = journal.rows(*["face_granted"] * 400)
while stored < len(rows):
    stored = hub.events.store("door-1", JOURNAL, rows[stored:stored + 5])
    print(stored, flush=True)
import time
time.sleep(600)
"""


def test_whatever_was_stored_is_told_though_the_hub_is_killed_and_the_receiver_falls_over(tmp_path, tmp_path_factory):
    receiver = Receiver(tmp_path, lambda number: 500 if number % 7 == 3 else 200)
    root = tmp_path / "hub"
    shutil.copytree(blank_state(tmp_path_factory), root)
    hub = Hub.open(places(root=root), SystemClock(), {})
    hub.fleet.add("door-1", "hq", ["staff"])
    _, webhook_id = added(hub, receiver)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(("tests", "."))}
    for _ in range(2):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(root)], stdout=subprocess.PIPE, env=environment,
                                 cwd=Path(__file__).parent.parent)
        before = len(receiver.got)
        wait_until(lambda before=before: len(receiver.got) > before + 30)
        child.send_signal(signal.SIGKILL)
        child.wait(30)
        child.stdout.close()
        hub.webhooks.resume(webhook_id)
    stored = hub.events.count("door-1")
    receiver.answers = lambda number: 200
    sender = Messenger(hub, SystemClock())
    sender.start()
    wait_until(lambda: hub.webhooks.get(webhook_id).waiting == 0)
    sender.stop()
    told = [one.data["seq"] for one in receiver.got]
    assert sorted(set(told)) == list(range(1, stored + 1))
    firsts = list(dict.fromkeys(told))
    assert firsts == sorted(firsts)
    assert len({one.id for one in receiver.got}) == stored
    hub.close()
    receiver.stop()


def test_what_a_terminal_sends_to_a_running_hub_reaches_the_receiver(tmp_path, tmp_path_factory, receiver):
    hub = open_hub(tmp_path / "hub", tmp_path_factory, SystemClock())
    secret, _ = added(hub, receiver)
    service = Service(hub, Options(with_broker=True))
    service.start()
    wait_until(service.is_well)
    hub.fleet.add("door-1", SITE, ("staff",))
    terminal = WireTerminal.claimed(service, "door-1")
    terminal.connect()
    terminal.send_journal(1, 60)
    wait_until(lambda: len(receiver.got) == 60)
    assert [one.data["seq"] for one in receiver.got] == list(range(1, 61))
    assert all(one.is_signed(secret) for one in receiver.got)
    terminal.close()
    service.stop()
    hub.close()


def test_a_receiver_that_hangs_holds_up_no_other(hub, receiver):
    rogue = Rogue(lambda line: time.sleep(3))
    hub.webhooks.add(rogue.url, may_loopback=True)
    _, webhook_id = added(hub, receiver)
    store(hub, Journal().rows("face_granted"))
    sender = Messenger(hub, hub.clock)
    sender.start()
    wait_until(lambda: hub.webhooks.get(webhook_id).delivered == 1, 2.5)
    sender.stop()
    rogue.stop()


def test_a_removed_webhook_does_not_come_back_with_a_backup(hub, receiver, tmp_path, clock):
    _, kept = added(hub, receiver)
    _, gone = added(hub, receiver)
    hub.storage.copy_to(tmp_path / "backup.db")
    hub.webhooks.remove(gone)
    hub.close()
    for path in hub.where.database.parent.glob(hub.where.database.name + "*"):
        path.unlink()
    shutil.copy(tmp_path / "backup.db", hub.where.database)
    again = Hub.open(hub.where, clock, {})
    assert [one.webhook_id for one in again.webhooks.all()] == [kept]
    again.close()


def test_more_than_a_few_are_refused_and_so_is_a_kind_that_there_is_not(hub):
    for _ in range(MOST):
        hub.webhooks.add("https://receiver.example/")
    with pytest.raises(InTheWay):
        hub.webhooks.add("https://receiver.example/")
    with pytest.raises(FieldRefused, match="the kinds are alarm"):
        hub.webhooks.add("https://receiver.example/", ["alarms"])
    with pytest.raises(FieldRefused, match="ca"):
        hub.webhooks.add("https://receiver.example/", ca="no certificate")


def test_a_certificate_that_is_not_believed_is_told_nothing(hub, receiver, sender):
    _, kept = hub.webhooks.add(receiver.url, may_loopback=True)
    store(hub, Journal().rows("face_granted"))
    sender.deliver(kept.webhook_id)
    assert receiver.got == []
    assert "certificate is not believed" in hub.webhooks.get(kept.webhook_id).problem


# --- how it is set up ------------------------------------------------------------------------------------


def test_webhooks_over_the_api_need_an_admin_and_reach_no_service_of_the_hubs_machine(hub, receiver, sender):
    app = application(hub)
    client = Client(app, hub.tokens.make("admin")[0])
    assert Client(app, hub.tokens.make("write")[0]).get(f"{API}/webhooks").status_code == 403
    refused = client.post(f"{API}/webhooks", json={"url": receiver.url, "ca": receiver.ca})
    assert refused.status_code == 422
    assert client.post(f"{API}/webhooks", json={"url": receiver.url, "may_loopback": True}).status_code == 422
    made = client.post(f"{API}/webhooks", json={"url": "https://192.0.2.1/x", "events": ["alarm"]}).json()
    assert made["secret"].startswith("whsec_")
    (listed,) = client.get(f"{API}/webhooks").json()
    assert listed == made["kept"]
    assert made["secret"] not in json.dumps(listed)
    assert client.post(f"{API}/webhooks/{listed['webhook_id']}/resumption").json()["state"] == "well"
    assert client.delete(f"{API}/webhooks/{listed['webhook_id']}").status_code == 204
    assert client.post(f"{API}/webhooks/{listed['webhook_id']}/test").status_code == 404
    _, webhook_id = added(hub, receiver)
    assert client.post(f"{API}/webhooks/{webhook_id}/test").json() == {"is_taken": True, "status": 200, "problem": ""}
    assert json.loads(receiver.got[0].body)["type"] == "test"


def test_a_webhook_from_the_command_line(tmp_path, capsys, receiver):
    def run(*arguments: str) -> tuple[int, str]:
        code = cli.main(["--state", str(tmp_path / "cli"), *arguments])
        out = capsys.readouterr()
        return code, out.out + out.err

    assert run("init")[0] == 0
    ca = tmp_path / "ca.pem"
    ca.write_text(receiver.ca)
    code, said = run("webhook", "add", receiver.url, "--ca", str(ca))
    assert code == 2
    assert "--loopback" in said
    code, said = run("webhook", "add", receiver.url, "--ca", str(ca), "--loopback", "--events", "release, alarm",
                     "--json")
    made = json.loads(said)
    assert run("webhook", "test", made["webhook_id"]) == (0, f"webhook {made['webhook_id']}: taken\n")
    assert receiver.got[0].is_signed(made["secret"])
    assert f"{made['webhook_id']}  {receiver.url}  alarm,release  well" in run("webhook", "list")[1]
    assert made["secret"] not in run("webhook", "list", "--json")[1]
    receiver.answers = lambda number: 500
    assert run("webhook", "test", made["webhook_id"])[0] == 1
    assert run("webhook", "resume", made["webhook_id"])[0] == 0
    assert run("webhook", "remove", made["webhook_id"])[0] == 0
    assert run("webhook", "remove", made["webhook_id"])[0] == 1
    assert run("webhook", "list") == (0, "")


def test_a_trial_does_not_change_how_a_webhook_stands(hub, receiver):
    _, webhook_id = added(hub, receiver)
    receiver.answers = lambda number: 500
    before = hub.webhooks.get(webhook_id)
    assert not try_out(hub, webhook_id).is_taken
    assert hub.webhooks.get(webhook_id) == before
    with pytest.raises(NotThere):
        try_out(hub, "none")
