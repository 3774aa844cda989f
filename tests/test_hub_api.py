"""The HTTP API: who may ask, what is refused and how, and that it does what the hub does."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from hub_samples import Client, agreed, jpeg, open_hub

from device.clock import HandClock
from device.kiosk.setup.tie import label
from sync.hub import schema
from sync.hub.api import application
from sync.hub.ca import Authority
from sync.hub.claims import Claims
from sync.hub.hub import open_eye

API = "/api/v1"


@pytest.fixture(scope="module")
def eye(pack):
    return open_eye()


@pytest.fixture
def hub(tmp_path, tmp_path_factory, eye):
    made = open_hub(tmp_path / "hub", tmp_path_factory)
    made.enroller._make_eye = lambda: eye
    yield made
    made.close()


@pytest.fixture
def client(hub):
    return Client(application(hub), hub.tokens.make("admin")[0])


def person(**changes):
    return {"label": "CANARY Li Wei", "groups": ["staff"], "external_id": "0017", **changes}


def consent(clock, **changes):
    one = agreed(clock)
    return json.dumps({"consent_id": one.consent_id, "text_version": "t", "kinds": list(one.kinds),
                       "purposes": list(one.purposes), "given_at": one.given_at.isoformat(), "means": "paper",
                       **changes})


def fields(answer):
    return [problem["field"] for problem in answer.json()["problems"]]


def test_every_route_but_health_refuses_who_has_no_token(hub):
    app = application(hub)
    stranger = Client(app)
    asked = [(method, path) for path, methods in app.openapi()["paths"].items() for method in methods]
    open_ones = [path for method, path in asked
                 if stranger.request(method, path.replace("{", "").replace("}", "")).status_code != 401]
    assert len(asked) > 30
    assert sorted(open_ones) == ["/healthz", "/readyz"]
    assert stranger.get("/openapi.json").status_code == 401
    assert stranger.get("/docs").status_code == 404
    assert stranger.get(f"{API}/groups", headers={"Authorization": "Bearer fh_wrong"}).status_code == 401
    assert stranger.get(f"{API}/groups", headers={"Authorization": "Basic YTpi"}).status_code == 401


def test_a_scope_allows_what_it_says_and_no_more(hub):
    app = application(hub)

    def status(scope, method, path, **more):
        return Client(app, hub.tokens.make(scope)[0]).request(method, API + path, **more).status_code

    assert status("read", "GET", "/persons") == 200
    assert status("read", "POST", "/persons", json=person()) == 403
    assert status("write", "POST", "/persons", json=person()) == 201
    assert status("write", "POST", "/sites", json={"site_id": "b"}) == 403
    assert status("write", "GET", "/tokens") == 403
    assert status("admin", "GET", "/tokens") == 200


def test_tokens_end_and_are_nowhere_in_the_clear(hub, client, tmp_path):
    made = client.post(f"{API}/tokens", json={"scope": "read", "title": "t"}).json()
    with_it = {"Authorization": f"Bearer {made['token']}"}
    assert client.get(f"{API}/groups", headers=with_it).status_code == 200
    assert made["token"].encode() not in b"".join(p.read_bytes() for p in (tmp_path / "hub").rglob("*.db*"))
    assert client.delete(f"{API}/tokens/{made['kept']['token_id']}").status_code == 204
    assert client.get(f"{API}/groups", headers=with_it).status_code == 401
    short = hub.tokens.make("read", expires=hub.clock.now().replace(year=2027))[0]
    hub.clock.advance(86400 * 500)
    assert client.get(f"{API}/groups", headers={"Authorization": f"Bearer {short}"}).status_code == 401


def test_enrolment_and_removal_over_http(hub, client, portrait):
    answer = client.post(f"{API}/enrolments", data={"person": json.dumps(person()), "consent": consent(hub.clock)},
                         files=[("photos", ("a.jpg", jpeg(portrait), "image/jpeg"))])
    assert answer.status_code == 201, answer.text
    person_id = answer.json()["person_id"]
    known = client.get(f"{API}/persons/{person_id}").json()
    assert (known["label"], known["external_id"], len(known["templates"])) == ("CANARY Li Wei", "0017", 1)
    again = client.post(f"{API}/enrolments", data={"person": json.dumps(person(external_id=None)),
                                                   "consent": consent(hub.clock)},
                        files=[("photos", ("b.jpg", jpeg(portrait), "image/jpeg"))])
    assert again.status_code == 422
    assert "CANARY Li Wei" in again.json()["problems"][0]["reason"]
    assert client.post(f"{API}/persons/{person_id}/faces",
                       files=[("photos", ("b.jpg", jpeg(portrait), "image/jpeg"))]).status_code == 201
    template = known["templates"][0]
    assert client.get(f"{API}/persons/{person_id}/faces/{template}/photo").status_code == 404
    assert client.delete(f"{API}/persons/{person_id}/faces/{template}").status_code == 204
    assert client.post(f"{API}/persons/{person_id}/consent/withdrawal").json()["templates"] == []
    assert client.post(f"{API}/persons/{person_id}/faces",
                       files=[("photos", ("b.jpg", jpeg(portrait), "image/jpeg"))]).status_code == 422
    assert client.delete(f"{API}/persons/{person_id}").status_code == 204
    assert client.get(f"{API}/persons/{person_id}").status_code == 404


@pytest.mark.parametrize(("form", "field"), [
    ({"person": "{"}, "person"), ({"person": json.dumps({"label": "x"})}, "person.groups"),
    ({"person": json.dumps({"label": "x", "groups": ["staff"], "role": 1})}, "person.role"),
    ({"consent": "{}"}, "consent.consent_id"), ({"consent": ""}, ""),
    ({"consent": {"given_at": "2026-01-01T00:00:00"}}, "consent.given_at"),
    ({"consent": {"kinds": []}}, "consent.kinds"), ({"consent": {"consent_id": "a/b"}}, "consent.consent_id"),
    ({"consent": {"given_at": "2099-01-01T00:00:00Z"}}, "consent.given_at")])
def test_each_bad_field_of_an_enrolment_is_named_and_nothing_stays(hub, client, portrait, form, field):
    given = {"person": json.dumps(person()), "consent": consent(hub.clock)}
    for name, value in form.items():
        given[name] = consent(hub.clock, **value) if isinstance(value, dict) else value
    answer = client.post(f"{API}/enrolments", data=given,
                         files=[("photos", ("a.jpg", jpeg(portrait), "image/jpeg"))])
    assert answer.status_code == 422
    assert fields(answer) == [field]
    assert "CANARY" not in answer.text
    assert hub.people.count() == 0


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a+b", "#", "a b", "É", "x" * 49, "a\u0000"])
def test_odd_ids_are_refused_by_field(client, name):
    answer = client.post(f"{API}/groups", json={"group_id": name, "site_id": "hq"})
    assert (answer.status_code, fields(answer)) == (422, ["group_id"])
    answer = client.post(f"{API}/terminals", json={"terminal_id": name, "site_id": "hq"})
    assert (answer.status_code, fields(answer)) == (422, ["terminal_id"])
    assert client.get(f"{API}/persons/x{quote(name, safe='')}").status_code in (404, 422)


@pytest.mark.parametrize("path", ["/terminals/' OR 1=1 --", "/terminals/%00", "/commands/%F0%9F%98%80",
                                  "/events?before=xx", "/events?before=W10=", "/events?limit=0", "/events?since=now",
                                  "/persons?limit=99999", "/persons?after=%00"])
def test_odd_queries_are_refused_or_empty_and_never_break_anything(client, path):
    assert client.get(API + path).status_code in (200, 404, 422)


def test_what_is_too_large_is_refused_whatever_it_claims(client):
    big = b"x" * 1_100_000
    async def parts():
        yield big[:600_000]
        yield big[600_000:]

    for content in (big, parts()):
        answer = client.post(f"{API}/persons", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
        assert answer.json()["problems"][0]["reason"]
    answer = client.post(f"{API}/persons", content=b"{}", headers={"Content-Length": "-1"})
    assert answer.status_code in (400, 413, 422)


def test_persons_come_in_pages_and_by_external_id(client):
    for number in range(5):
        assert client.post(f"{API}/persons", json=person(external_id=str(number))).status_code == 201
    assert client.post(f"{API}/persons", json=person(external_id="3")).status_code == 409
    first = client.get(f"{API}/persons", params={"limit": 3}).json()
    rest = client.get(f"{API}/persons", params={"limit": 3, "after": first["next"]}).json()
    assert rest["next"] is None
    assert len({one["person_id"] for one in first["persons"] + rest["persons"]}) == 5
    found = client.get(f"{API}/persons", params={"external_id": "3"}).json()["persons"]
    assert [one["external_id"] for one in found] == ["3"]
    one = found[0]["person_id"]
    changed = client.patch(f"{API}/persons/{one}", json={"label": "New", "valid_until": "2030-01-01T00:00:00Z"})
    assert changed.json()["label"] == "New"
    assert client.patch(f"{API}/persons/{one}", json={"label": "Again"}).json()["valid_until"].startswith("2030")
    assert client.put(f"{API}/persons/{one}/groups", json={"groups": ["lab"]}).json()["groups"] == ["lab"]
    carded = client.post(f"{API}/persons/{one}/cards", json={"number": "0x04A1B2"}).json()
    assert client.delete(f"{API}/persons/{one}/credentials/{carded['credentials'][0]}").status_code == 204


def test_terminals_states_and_commands(hub, client):
    asked = {"terminal_id": "door-1", "site_id": "hq", "groups": ["staff"]}
    assert client.post(f"{API}/terminals", json=asked).json()["state"] == "unclaimed"
    assert client.post(f"{API}/terminals", json=asked).status_code == 409
    assert client.post(f"{API}/terminals/door-1/commands", json={"verb": "release"}).status_code == 409
    assert client.post(f"{API}/terminals/door-1/commands", json={"verb": "explode"}).status_code == 422
    state = client.put(f"{API}/terminals/door-1/state", json={"mode": "lockdown"}).json()
    assert (state["version"], state["mode"]) == (1, "lockdown")
    past = client.put(f"{API}/terminals/door-1/state", json={"mode": "free", "until": "2020-01-01T00:00:00Z"})
    assert fields(past) == ["until"]
    assert client.put(f"{API}/terminals/door-1/groups", json={"groups": ["nosuch"]}).status_code == 404
    assert client.post(f"{API}/terminals/door-1/claim-code").status_code == 409
    assert client.delete(f"{API}/terminals/door-1").status_code == 204
    assert client.get(f"{API}/terminals/door-1").status_code == 404


TOO_LATE = ("9999-12-31T23:59:59-10:00", "9999-12-31T23:59:59Z")
TOO_EARLY = ("1969-12-31T23:59:59Z", "0001-01-01T00:00:00+10:00")


@pytest.mark.parametrize("at", TOO_LATE + TOO_EARLY)
def test_a_time_that_cannot_be_kept_is_refused_by_field_before_anything_is(hub, client, portrait, at):
    is_late = at in TOO_LATE
    one = client.post(f"{API}/persons", json=person()).json()["person_id"]
    client.post(f"{API}/terminals", json={"terminal_id": "t1", "site_id": "hq"})
    seq = hub.ledger.head("group/staff").seq
    asked = [
        ("POST", "/tokens", {"scope": "read", "expires": at}, "expires"),
        ("PUT", "/terminals/t1/state", {"mode": "lockdown", "until": at}, "until"),
        ("POST", "/persons", person(external_id=None, valid_until=at), "valid_until"),
        ("POST", "/persons", person(external_id=None, valid_from=at), "valid_from"),
        ("PATCH", f"/persons/{one}", {"valid_until": at}, "valid_until"),
        ("POST", f"/persons/{one}/cards", {"number": "0x04A1", "valid_until": at}, "valid_until")]
    for method, path, body, field in asked:
        answer = client.request(method, API + path, json=body)
        assert (answer.status_code, fields(answer)) == (422, [field]), (path, answer.text)
    answer = client.post(f"{API}/enrolments", data={
        "person": json.dumps(person(external_id=None)),
        "consent": consent(hub.clock, **({"valid_until": at} if is_late else {"given_at": at}))},
        files=[("photos", ("a.jpg", jpeg(portrait), "image/jpeg"))])
    assert (answer.status_code, fields(answer)) == (422, ["consent.valid_until" if is_late else "consent.given_at"])
    assert len(client.get(f"{API}/tokens").json()) == 1
    assert (hub.people.count(), hub.ledger.head("group/staff").seq) == (1, seq)
    assert client.get(f"{API}/terminals/t1/state").json()["version"] == 0
    assert client.get(f"{API}/events", params={"since": at}).status_code == 200
    assert client.get(f"{API}/events", params={"until": at}).status_code == 200


def test_rows_that_hold_an_impossible_time_break_no_list(hub, client):
    client.post(f"{API}/terminals", json={"terminal_id": "t1", "site_id": "hq"})
    client.put(f"{API}/terminals/t1/state", json={"mode": "lockdown"})
    one = client.post(f"{API}/persons", json=person()).json()["person_id"]
    with hub.storage.write() as tx:
        for ms in (253402340399000, 2**62, -2**62):
            tx.run(sa.insert(schema.tokens).values(token_id=str(ms)[:8], hash=str(ms).encode(), scope="read",
                                                   created=ms, expires=ms, title=""))
            tx.run(sa.insert(schema.events).values(
                terminal_id="t1", journal_id="j", seq=ms, received=ms, at_us=ms, mono=0, boot_id="b", kind="release",
                clock_quality="synced", reason="", person_id=one, detail="{}", prev_hash="", hash=str(ms)))
        tx.run(sa.update(schema.desired).values(until=2**62))
        tx.run(sa.update(schema.terminals).values(reported=-2**62, issued=2**62))
    assert len(client.get(f"{API}/tokens").json()) == 4
    assert client.get(f"{API}/events").status_code == 200
    assert len(client.get(f"{API}/events").json()["events"]) == 3
    assert client.get(f"{API}/terminals").json()[0]["terminal_id"] == "t1"
    assert client.get(f"{API}/terminals/t1/state").json()["until"].startswith("9999")


def test_a_terminals_configuration_over_http(client):
    client.post(f"{API}/terminals", json={"terminal_id": "t1", "site_id": "hq"})
    where = f"{API}/terminals/t1/config"
    assert client.get(where).status_code == 404
    bad = client.put(where, json={"text": "[door]\nrelese_s = 1\n"})
    assert (bad.status_code, fields(bad)) == (422, ["config"])
    given = client.put(where, json={"text": "[door]\nrelease_s = 4\n"}).json()
    assert (given["version"], client.get(where).json()) == (1, given)
    shown = client.get(f"{API}/terminals/t1").json()
    assert (shown["config_wanted"], shown["config_applied"]) == (1, 0)
    assert client.put(f"{API}/terminals/nosuch/config", json={"text": ""}).status_code == 404


def test_a_terminal_is_revoked_over_http_where_the_hub_has_the_wires_side(hub, client):
    client.post(f"{API}/terminals", json={"terminal_id": "t1", "site_id": "hq"})
    assert client.post(f"{API}/terminals/t1/revocation").status_code == 409
    claims = Claims(hub.storage, Authority.new("hub", hub.clock), lambda: None, hub.clock)
    wired = Client(application(hub, claims), client._token)
    shown = {"shown": label("4F2A91C0", "8K2M4-Q1TZ9-0RW3X-7HCVN")}
    assert wired.post(f"{API}/terminals/t1/claim-code", json=shown).json() == {"terminal_id": "t1", "code": ""}
    assert wired.post(f"{API}/terminals/t1/claim-code", json=shown).status_code == 409
    assert len(wired.post(f"{API}/terminals/t1/claim-code").json()["code"]) == 23
    assert wired.post(f"{API}/terminals/t1/revocation").json()["state"] == "revoked"
    assert wired.post(f"{API}/terminals/nosuch/revocation").status_code == 404
    assert wired.post(f"{API}/terminals", json={"terminal_id": "hub", "site_id": "hq"}).status_code == 422


def test_a_fault_inside_is_told_without_its_inside(hub, client, monkeypatch):
    def fail():
        raise RuntimeError("CANARY inside")

    monkeypatch.setattr(hub.groups, "all", fail)
    answer = client.get(f"{API}/groups")
    assert answer.status_code == 500
    assert "CANARY" not in answer.text
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready", "link": "up"}
    assert client.get("/openapi.json").json()["openapi"].startswith("3.1")
    assert client.get("/healthz").headers["cache-control"] == "no-store"


def test_health_is_told_apart_from_readiness(tmp_path, tmp_path_factory):
    hub = open_hub(tmp_path / "hub", tmp_path_factory, HandClock())
    client = Client(application(hub))
    hub.close()
    hub.where.database.write_bytes(b"no database" * 1000)
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503
