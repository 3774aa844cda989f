"""What the kept samples of messages hold, and the keys that they were signed and sealed with: one of every kind."""

from __future__ import annotations

from datetime import datetime, timezone

import msgspec

from device.store.orders import Desired, Head, HeadBody, Order, head_place
from device.store.records import Template
from device.store.trust import Opener
from device.store.trust_chain import HubKeys
from sync.wire import messages as m
from sync.wire import topics
from sync.wire.claim import Claim, Claimed, Problem, Refusal, Renewal, Renewed
from sync.wire.codec import encode_body
from sync.wire.releases import Chunk, ChunkRequest, Offer, Update
from sync.wire.seal import GroupSeal
from sync.wire.sign import Signer
from sync.wire.templates import to_columns

HUB, TERMINAL = Signer(bytes(range(32))), Signer(bytes(range(32, 64)))
NEXT = Signer(bytes(range(64, 96)))
TO_HUB, TO_TERMINAL = Opener(bytes(range(96, 128))), Opener(bytes(range(128, 160)))
GROUP, AREA = GroupSeal(bytes(range(160, 192))), GroupSeal(bytes(range(192, 224)))
H = bytes(range(32))
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def faces(count: int) -> m.TemplateColumns:
    made = [Template(f"{number:032x}", f"{number + 100:032x}", "mobilefacenet-0",
                     bytes((7 * number + place) % 256 for place in range(192)), 1 / (100 + number), number / 4,
                     datetime(2026, 1, number, 8, 30, tzinfo=timezone.utc)) for number in range(1, count + 1)]
    return to_columns([(number + 5, one) for number, one in enumerate(made)])


PERSON = (b'{"consent":{"consent_id":"c1","given_at":"2026-01-05T08:00:00+00:00","kinds":["face template"],"means":'
          b'"paper","purposes":["opening this door"],"text_version":"1","valid_until":null},"groups":["staff"],'
          b'"label":"\xe6\x9d\x8e\xe4\xbc\x9f","person_class":"regular","person_id":"p2","valid_from":null,'
          b'"valid_until":null}')
BODY = m.PageBody(drops=(m.Change(8, "drop", "person", "p1"),), puts=(m.Change(9, "put", "person", "p2", PERSON),),
                  templates=(faces(3),), buckets=(4, 4095))
DETAIL = m.PageDetail(digest=H, form="repair", part=1, parts=3, models=("mobilefacenet-0",))
HEAD_BODY = HeadBody(digest=H, issued_ms=1_800_000_000_000, number=1_800_000_000_001, boot_id="b" * 32, session="s1")
HEALTH = m.HealthBody(versions={"open-door": "1", "config": "3"}, clock_quality="synced", clock_offset_s=0.01,
                      degraded=("camera_lost",), counts={"dropped": 1})
UPDATING = Update(rollout_id="r1", release="1.2.0", state="downloading", done=3, total=21, why="")

TO_THE_TERMINAL: dict[topics.Topic, tuple[m.ToTerminal, ...]] = {
    topics.DESIRED: (Desired(terminal_id="t1", version=4, mode="lockdown", mode_until_ms=1_800_000_000_000,
                             config_version=3),),
    topics.COMMAND: (Order(terminal_id="t1", command_id="c1", boot_id="b1", issued_ms=1, expires_ms=10_001,
                           verb="release", seconds=5.0, argument="by hand"),),
    topics.ACKED: (m.Acked(terminal_id="t1", journal_id="j1", seq=77, number=5, hash="e3"),),
    topics.PAGES: (
        m.RangeHashes(terminal_id="t1", stream="group/staff", epoch="e1", seq=9, ranges=((3, (H,) * 64),)),
        m.GroupKey(terminal_id="t1", group="staff", key_id=GROUP.key_id, number=6, key=GROUP.key_bytes()),
        m.GroupKey(terminal_id="t1", scope="area", group="hall-f7ad539cfeb1", key_id=AREA.key_id, number=7,
                   key=AREA.key_bytes())),
    topics.UPDATE: (
        Offer(terminal_id="t1", rollout_id="r1", number=7, release="1.2.0",
              name="open-door-1.2.0-aarch64-py3.11.bundle", size=5000, sha256=H, chunk_bytes=4096, chunks=H * 2),
        Chunk(terminal_id="t1", sha256=H, index=1, data=b"part of a wheel")),
}
TO_THE_HUB: dict[topics.Topic, tuple[m.ToHub, ...]] = {
    topics.REPORT: (
        m.Report(terminal_id="t1", boot_id="b1", issued_ms=5, cursors=(m.Cursor("group/staff", "e1", 9, H),),
                 journal_id="j1", journal_seq=80, acked_seq=77, model_ids=("mobilefacenet-0",), desired_version=4,
                 key_ids=("k1",), session="s1", hub_keys=("h1", "h2"), health=HEALTH),
        m.RepairRequest(terminal_id="t1", stream="group/staff", epoch="e1", seq=9, ranges=(H,) * 64,
                        buckets=(0, 4095))),
    topics.ONLINE: (m.Online(terminal_id="t1", is_online=True, session="s1"),),
    topics.JOURNAL: (m.JournalPage(
        terminal_id="t1", journal_id="j1~b", from_seq=77, to_seq=78, anchor=3,
        rows=(m.JournalRow(78, 5, 0.5, "b1", "synced", "release", "face_granted", "p1",
                           (("score", 0.7), ("frames", 3), ("door", "d1"), ("is_entry", True), ("area", None)),
                           "e1", "e2"),)),),
    topics.RECEIPTS: (m.Receipt(terminal_id="t1", stream="group/staff", epoch="e1", seq=9, digest=H, issued_ms=5,
                                dropped=(("person", "p1", 8),)),),
    topics.ANSWER: (m.Answer(terminal_id="t1", command_id="c1", issued_ms=5, outcome="refused",
                             reason="another boot"),),
    topics.MISSING: (ChunkRequest(terminal_id="t1", sha256=H, indexes=(0, 7, 20)),),
}
ANNOUNCED = HubKeys(number=1, signing=(HUB.public, NEXT.public), sealing=TO_HUB.public)
OVER_HTTP: tuple[msgspec.Struct, ...] = (
    Claim(code="8K2M4-Q1TZ9-0RW3X-7HCVN", csr=PEM, signing_public=TERMINAL.public.hex(),
          sealing_public=TO_TERMINAL.public.hex()),
    Claimed(terminal_id="t1", site="site", certificate=PEM, ca=PEM, broker_host="broker.example", broker_port=8883,
            hub_signing=(HUB.public.hex(), NEXT.public.hex()), hub_sealing=TO_HUB.public.hex()),
    Renewal(terminal_id="t1", csr=PEM, issued_ms=1_800_000_000_000),
    Renewed(certificate=PEM, ca=PEM, hub_keys=("00ff",)),
    Refusal(problems=(Problem(field="code", reason="the code is unknown, used or expired"),)),
)


def a_page() -> m.Page:
    page = m.Page(site="site", stream="group/staff", epoch="e1", from_seq=9, to_seq=9, detail=b"", sealed=b"")
    return msgspec.structs.replace(page, detail=GROUP.seal(encode_body(DETAIL), m.detail_place(page)),
                                   sealed=GROUP.seal(encode_body(BODY), m.page_place(page, DETAIL)))


def a_head() -> Head:
    head = Head(site="site", stream="group/staff", epoch="e1", seq=9, sealed=b"")
    return msgspec.structs.replace(head, sealed=GROUP.seal(encode_body(HEAD_BODY), head_place(head)))
