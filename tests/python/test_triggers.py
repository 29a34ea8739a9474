"""Triggers as `fedstill submit --print` writes them are what the documented schema says."""

import json
import os

import jsonschema
import pytest
from conftest import ROOT

SCHEMA = json.loads((ROOT / "docs/trigger.schema.json").read_text())


@pytest.fixture(scope="session")
def triggers(run, tmp_path_factory):
    file = tmp_path_factory.mktemp("trigger") / "run.toml"
    text = (ROOT / "tests/data/tiny.toml").read_text().replace("../../", f"{ROOT}{os.sep}")
    file.write_text(text + '\n[close]\nquorum = 0.5\ndeadline = "10m"\n')
    return [json.loads(line) for line in run("fedstill", "submit", "--print", file).splitlines()]


def test_printed_triggers_follow_the_schema(triggers):
    assert [trigger["run"] for trigger in triggers] == ["tiny-fedmd-0", "tiny-standalone-0"]
    for trigger in triggers:
        jsonschema.validate(trigger, SCHEMA)


def test_the_schema_refuses_what_plan_would(triggers):
    at = {"run": "tiny-fedmd-0", "round": 0, "attempt": 0}
    stepping = {**triggers[0], "at": at}
    del stepping["run"]
    jsonschema.validate(stepping, SCHEMA)
    for change in ({"run": "tiny-fedmd-0"}, {"version": 2}, {"close": {"quorum": 0}}, {"throgh": 3}, {"resolved": 3}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**stepping, **change}, SCHEMA)
