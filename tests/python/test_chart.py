"""The Helm chart: its values against their schema and, where there is a `helm`, what it renders.

FEDSTILL_TEST_HELM names the command; otherwise it is looked for on the path. Without one the tests that render are not
collected, which is said on the standard error.
"""

import copy
import json
import os
import re
import shutil
import subprocess
import sys

import jsonschema
import pytest
import yaml  # moto brings it
from conftest import ROOT

CHART = ROOT / "deploy/helm/fedstill"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
HELM = os.environ.get("FEDSTILL_TEST_HELM") or shutil.which("helm")
DEPLOYMENT = {"kafka": {"brokers": "kafka:9092"}, "store": {"url": "s3://bucket/fedstill"}}


@pytest.fixture(scope="module", autouse=True)
def say_what_is_left_out(pytestconfig):
    if not HELM:
        with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print("test_chart.py: no helm, so the chart is not rendered; FEDSTILL_TEST_HELM names one", file=sys.stderr)


def changed(path, value):
    """The chart's values with another one at a path."""
    values = copy.deepcopy(VALUES)
    *parents, last = path
    at = values
    for parent in parents:
        at = at[parent]
    at[last] = value
    return values


def test_values_follow_the_schema():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(VALUES, SCHEMA)


def test_the_schema_knows_every_value():
    """A value that the schema does not name could be misspelt without an error."""

    def names(values, schema, path=()):
        if "$ref" in schema:
            schema = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]
        for name, value in values.items():
            if schema.get("additionalProperties") is False:
                assert name in schema["properties"], (*path, name)
                if isinstance(value, dict):
                    names(value, schema["properties"][name], (*path, name))

    names(VALUES, SCHEMA)
    with pytest.raises(jsonschema.ValidationError, match="replcas"):
        jsonschema.validate(changed(["stages", "train", "replcas"], 1), SCHEMA)


def test_every_stage_has_an_entry(run):
    stages = re.search(r"with commas: ([a-z, ]+)", run("fedstill", "worker", "--help"))[1].strip().split(", ")
    assert {"plan", "advance", "train"} <= set(stages)
    assert list(VALUES["stages"]) == stages
    stage_schema = SCHEMA["properties"]["stages"]
    assert list(stage_schema["properties"]) == stage_schema["required"] == stages
    assert f"\n{' '.join(stages)}\n" in (CHART / "templates/_helpers.tpl").read_text()


# Helm reads every number as a float: 2097152 would become 2.097152e+06.
@pytest.mark.parametrize("path", ["kafka properties", "store env", "telemetry env", "podAnnotations", "podLabels"])
@pytest.mark.parametrize("value", [2097152, 1.5, True, None])
def test_only_strings_are_properties_and_variables(path, value):
    jsonschema.validate(changed(path.split(), {"name": "2097152"}), SCHEMA)
    with pytest.raises(jsonschema.ValidationError, match="is not of type 'string'"):
        jsonschema.validate(changed(path.split(), {"name": value}), SCHEMA)


class TestRendered:
    __test__ = HELM is not None

    @pytest.fixture
    def render(self, tmp_path):
        """What these values render: objects by kind and name."""

        def render(**values):
            (tmp_path / "values.json").write_text(json.dumps(values))
            command = [HELM, "template", "fedstill", str(CHART), "--kube-version", "1.30.0", "-f", str(tmp_path / "values.json")]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            objects = filter(None, yaml.safe_load_all(done.stdout))
            return {(found["kind"], found["metadata"]["name"]): found for found in objects}

        return render

    def test_defaults_render_a_deployment_of_each_stage(self, render):
        objects = render(**DEPLOYMENT)
        for stage in VALUES["stages"]:
            assert ("Deployment", f"fedstill-{stage}") in objects
            assert (("ScaledObject", f"fedstill-{stage}") in objects) == (stage != "advance")

    def test_a_stage_may_say_zero_and_empty(self, render):
        defaults = {"replicas": 3, "min": 2, "tolerations": [{"operator": "Exists"}], "nodeSelector": {"disk": "ssd"}}
        stages = {"train": {"replicas": 0, "min": 0, "tolerations": [], "nodeSelector": {"gpu": "no"}, "resources": {}}}

        objects = render(**DEPLOYMENT, defaults=defaults, stages=stages, keda={"enabled": False})
        train, distill = (objects["Deployment", f"fedstill-{stage}"]["spec"] for stage in ("train", "distill"))
        assert (train["replicas"], distill["replicas"]) == (0, 3)
        train, distill = (deployment["template"]["spec"] for deployment in (train, distill))
        assert "tolerations" not in train and distill["tolerations"] == [{"operator": "Exists"}]
        # What one stage says is not another one's.
        assert train["nodeSelector"] == {"disk": "ssd", "gpu": "no"} and distill["nodeSelector"] == {"disk": "ssd"}
        assert train["containers"][0]["resources"] == {} and distill["containers"][0]["resources"]["limits"]

        objects = render(**DEPLOYMENT, defaults=defaults, stages=stages)
        least = {stage: objects["ScaledObject", f"fedstill-{stage}"]["spec"]["minReplicaCount"] for stage in ("train", "distill", "plan")}
        assert least == {"train": 0, "distill": 2, "plan": 1}  # plan has a max of 1

    def test_properties_are_as_they_were_written(self, render):
        properties = {"fetch.message.max.bytes": "2097152", "security.protocol": "SSL"}
        kafka = {**DEPLOYMENT["kafka"], "properties": properties}
        config = render(**{**DEPLOYMENT, "kafka": kafka})["ConfigMap", "fedstill"]["data"]["cluster.toml"]
        assert '"fetch.message.max.bytes" = "2097152"' in config
        party = render(kafka={"properties": properties}, party={"enabled": True, "secret": "party"})["Deployment", "fedstill-party"]
        env = {variable["name"]: variable.get("value") for variable in party["spec"]["template"]["spec"]["containers"][0]["env"]}
        assert env["FEDSTILL_KAFKA_FETCH_MESSAGE_MAX_BYTES"] == "2097152"

    @pytest.mark.parametrize(
        ("metadata", "reached"),
        {
            "": set(),
            "gke": {("169.254.169.254/32", 80), ("169.254.169.254/32", 8080), ("169.254.169.252/32", 987), ("169.254.169.252/32", 988)},
            "eks": {("169.254.170.23/32", 80), ("fd00:ec2::23/128", 80)},
            "instance": {("169.254.169.254/32", 80)},
        }.items(),
    )
    def test_the_network_policy_lets_pods_ask_for_their_role(self, render, metadata, reached):
        extra = {"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "ports": [{"protocol": "TCP", "port": 3128}]}
        egress = render(**DEPLOYMENT, networkPolicy={"metadata": metadata, "extra": [extra]})["NetworkPolicy", "fedstill"]["spec"]["egress"]
        found = {(to["ipBlock"]["cidr"], port["port"]) for rule in egress for to in rule.get("to", []) for port in rule["ports"]}
        assert found == reached | {("10.1.2.3/32", 3128)}
