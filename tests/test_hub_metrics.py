"""The hub's figures for Prometheus: read as Prometheus reads them, with a token, and about nobody."""

from __future__ import annotations

import pytest
from hub_samples import Client, agreed, li_wei, open_hub, photo_of
from prometheus_client.parser import text_string_to_metric_families

from sync.hub.api import application
from sync.hub.hub import open_eye
from sync.hub.metrics import GAUGES


@pytest.fixture
def hub(tmp_path, tmp_path_factory, pack):
    made = open_hub(tmp_path / "hub", tmp_path_factory)
    made.enroller._make_eye = open_eye
    made.fleet.add("t1", "hq", ("staff",), "CANARY front door")
    made.fleet.add("t2", "hq", ("staff",))
    yield made
    made.close()


def read(hub, is_well=True, counts=None):
    """(name, labels) -> value, as asked over HTTP; and the text."""
    app = application(hub, is_well=lambda: is_well, counts=lambda: counts or {})
    answer = Client(app, hub.tokens.make("read")[0]).get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {(sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(answer.text) for sample in family.samples}, answer.text


def test_who_may_not_read_gets_no_figures(hub):
    assert Client(application(hub)).get("/metrics").status_code == 401


def test_the_fleet_is_told_by_state_and_each_terminal_by_its_name(hub):
    found, _ = read(hub, is_well=False, counts={"journal pages": 3})
    assert found["hub_terminals", "unclaimed"] == 2
    assert found["hub_broker_up",] == 0
    assert found["hub_messages_total", "journal pages"] == 3
    assert {name for name, *rest in found if rest == ["t2"]} == {f"hub_terminal_{name}" for name in GAUGES}


def test_no_figure_is_about_anybody(hub, portrait):
    done = hub.enroller.enrol(li_wei(label="CANARY Li Wei"), [photo_of(portrait)], agreed(hub.clock))
    found, text = read(hub)
    assert found["hub_people",] == 1
    for canary in ("CANARY", done.person_id, *done.template_ids):
        assert canary not in text
