"""Events as tables: filters, time zones, names, and cells that are no formulas."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import openpyxl
import pytest
import sqlalchemy as sa
from hub_samples import Client, li_wei, open_hub

from device.errors import UsageError
from sync.hub import cli, schema
from sync.hub.api import application
from sync.hub.errors import FieldRefused, NotThere
from sync.hub.events import Query
from sync.hub.exporting import AT_ONCE, HEADING, Manner, export
from sync.hub.times import EARLIEST

NEW_YEAR = datetime(2026, 12, 31, 23, 30, tzinfo=timezone.utc)


@pytest.fixture
def hub(tmp_path, tmp_path_factory):
    made = open_hub(tmp_path / "hub", tmp_path_factory)
    made.fleet.add("door-1", "hq", ["staff"])
    yield made
    made.close()


def happen(hub, *rows: dict) -> None:
    with hub.storage.write() as tx:
        tx.run(sa.insert(schema.events), [
            {"terminal_id": "door-1", "journal_id": "j", "seq": number, "received": 0, "mono": 0.0, "boot_id": "b",
             "clock_quality": "synced", "kind": "release", "reason": "face_granted", "person_id": None,
             "detail": '{"score":0.7}', "prev_hash": "", "hash": "", **row,
             "at_us": (row.get("at_us", NEW_YEAR) - EARLIEST) // timedelta(microseconds=1)}
            for number, row in enumerate(rows, 1)])


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_times_are_those_of_the_site_and_the_year_is_its_own(hub, tmp_path):
    hub.groups.set_time_zone("hq", "Asia/Shanghai")
    happen(hub, {}, {"terminal_id": "gone"})
    out = tmp_path / "out.csv"
    assert export(hub, out, Query(10), Manner()) == 2
    assert {(row["terminal"], row["time"], row["zone"]) for row in table(out)} == {
        ("door-1", "2027-01-01 07:30:00", "UTC+0800"), ("gone", "2026-12-31 23:30:00", "UTC+0000")}
    export(hub, out, Query(10), Manner(zone=ZoneInfo("America/New_York")))
    assert {row["time"] for row in table(out)} == {"2026-12-31 18:30:00"}


def test_a_time_zone_must_be_one_and_a_site_must_be_there(hub):
    for name in ("Mars/Base", "", "../../etc/passwd", "/etc/passwd", "\0", "x" * 500):
        with pytest.raises(FieldRefused):
            hub.groups.set_time_zone("hq", name)
        with pytest.raises(FieldRefused):
            hub.groups.add_site("new", time_zone=name)
    with pytest.raises(NotThere):
        hub.groups.set_time_zone("nosuch", "UTC")
    assert hub.groups.time_zones() == {"hq": "UTC"}


def test_every_event_is_written_once_newest_first_and_no_more_than_asked_for(hub, tmp_path):
    count = 2 * AT_ONCE + 7
    happen(hub, *({"at_us": NEW_YEAR + timedelta(seconds=number // 3)} for number in range(count)))
    out = tmp_path / "out.csv"
    assert export(hub, out, Query(10**6), Manner()) == count
    rows = table(out)
    assert sorted(int(row["number"]) for row in rows) == list(range(1, count + 1))
    assert [row["time"] for row in rows] == sorted((row["time"] for row in rows), reverse=True)
    assert export(hub, out, Query(AT_ONCE + 1), Manner()) == AT_ONCE + 1


def test_names_only_where_they_are_asked_for_and_no_cell_is_a_formula(hub, tmp_path):
    person_id = hub.people.add(li_wei(label="=CANARY()"))
    happen(hub, {"person_id": person_id, "reason": "no_rule"}, {"person_id": "f" * 32, "reason": "@SUM(A1)",
                                                              "detail": '{"=1+1":"x"}'})
    out = tmp_path / "out.csv"
    export(hub, out, Query(10), Manner())
    assert "CANARY" not in out.read_text("utf-8")
    export(hub, out, Query(10), Manner("zh", has_names=True))
    second, first = table(out)
    assert (first["name"], first["person"], second["name"]) == ("'=CANARY()", person_id, "")
    assert (second["reason"], second["detail"], second["text"]) == ("'@SUM(A1)", "'=1+1=x", "")
    assert first["text"]
    assert not first["text"].isascii()
    sheet = tmp_path / "out.xlsx"
    export(hub, sheet, Query(10), Manner(has_names=True))
    cells = [cell for row in openpyxl.load_workbook(sheet).active.iter_rows() for cell in row]
    assert "'=CANARY()" in [cell.value for cell in cells]
    assert not [cell for cell in cells if cell.data_type == "f"]
    with pytest.raises(UsageError):
        export(hub, tmp_path / "out.ods", Query(10), Manner())


def test_a_table_over_http(hub):
    happen(hub, {}, {"kind": "refusal", "reason": "no_rule"})
    client = Client(application(hub), hub.tokens.make("read")[0])
    answer = client.get("/api/v1/events.csv", params={"kind": "refusal", "time_zone": "Asia/Tokyo"})
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    (row,) = csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig")))
    assert (row["reason"], row["zone"]) == ("no_rule", "UTC+0900")
    sheet = openpyxl.load_workbook(io.BytesIO(client.get("/api/v1/events.xlsx").content)).active
    assert [cell.value for cell in sheet[1]] == list(HEADING)
    assert sheet.max_row == 3
    assert not list(hub.where.run.glob("export-*"))
    for odd in ({"time_zone": "Mars/Base"}, {"limit": 0}, {"language": "xx"}, {"since": "yesterday"}):
        assert client.get("/api/v1/events.csv", params=odd).status_code == 422
    assert client.get("/api/v1/events.ods").status_code == 422
    assert not list(hub.where.run.glob("export-*"))
    admin = Client(application(hub), hub.tokens.make("admin")[0])
    assert admin.put("/api/v1/sites/hq/time-zone", json={"time_zone": "Asia/Shanghai"}).status_code == 200
    assert admin.get("/api/v1/sites").json() == [{"site_id": "hq", "title": "", "time_zone": "Asia/Shanghai"}]
    assert admin.put("/api/v1/sites/hq/time-zone", json={"time_zone": "Mars"}).status_code == 422


def test_a_table_from_the_command_line(hub, tmp_path, capsys):
    happen(hub, {}, {"kind": "refusal", "reason": "no_rule"})
    state, out = ["--state", str(tmp_path / "hub")], tmp_path / "out.csv"
    assert cli.main([*state, "site", "time-zone", "hq", "Asia/Shanghai"]) == 0
    assert cli.main([*state, "events", "--export", str(out), "--kind", "refusal"]) == 0
    assert "1 events" in capsys.readouterr().out
    assert [(row["reason"], row["zone"]) for row in table(out)] == [("no_rule", "UTC+0800")]
    assert cli.main([*state, "events", "--export", str(out), "--time-zone", "UTC", "--limit", "1"]) == 0
    assert [row["zone"] for row in table(out)] == ["UTC+0000"]
    for bad in (["--export", str(tmp_path / "x.ods")], ["--export", str(out), "--time-zone", "Mars"]):
        assert cli.main([*state, "events", *bad]) == 2
    assert cli.main([*state, "events", "--export", str(tmp_path / "nosuch" / "x.csv")]) == 1
    assert len(table(out)) == 1
