"""A release at every stage, judged by what judges it in clusters: kstatus, Argo CD's Lua, Flux's CEL, kubectl."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from iris_operator.api import names
from support.operator.controllers import Kubectl
from support.operator.simulation import Simulation, at_share, manifest, phase, serving
from support.operator.stages import CURRENT, FAILED, IN_PROGRESS, TERMINATING, all_stages, as_stored
from support.servers.tools import component

GITOPS = Path(__file__).resolve().parents[3] / "deploy" / "gitops"
STAGES = all_stages()


def judge(objects: Sequence[Mapping[str, Any]], *rules: str) -> list[Any]:
    """What the program of the local cluster's component `health` says of each object."""
    lines = "\n".join(json.dumps(each) for each in objects)
    done = subprocess.run([component("health"), *rules], input=lines, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def argocd(kind: str) -> Any:
    """A script of the customization, or all of the actions."""
    config = yaml.safe_load((GITOPS / "argocd-cm.yaml").read_text())
    return config["data"][f"resource.customizations.{kind}.{names.GROUP}_{names.KIND}"]


def actions() -> Mapping[str, str]:
    """The script of each action by its name; `discovery` says which ones there are."""
    parsed = yaml.safe_load(argocd("actions"))
    found = {each["name"]: each["action.lua"] for each in parsed["definitions"]}
    return {**found, "discovery": parsed["discovery.lua"]}


def test_kstatus_says_of_every_stage_what_it_is() -> None:
    found = judge([at.release for at in STAGES], "kstatus")
    assert {at.stage: each["status"] for at, each in zip(STAGES, found, strict=True)} == {
        at.stage: at.expected for at in STAGES
    }


def test_flux_says_of_every_stage_what_it_is() -> None:
    (spec,) = yaml.safe_load((GITOPS / "flux-kustomization.yaml").read_text())["spec"]["healthCheckExprs"]
    assert (spec["apiVersion"], spec["kind"]) == (names.API_VERSION, names.KIND)
    found = judge([at.release for at in STAGES], "cel", spec["inProgress"], spec["failed"], spec["current"])
    assert {at.stage: each["status"] for at, each in zip(STAGES, found, strict=True)} == {
        at.stage: IN_PROGRESS if at.expected == TERMINATING else at.expected for at in STAGES
    }


def test_argo_cd_says_of_every_stage_what_it_is() -> None:
    found = judge([at.release for at in STAGES], "lua", argocd("health"))
    expected = {CURRENT: "Healthy", FAILED: "Degraded", IN_PROGRESS: "Progressing", TERMINATING: "Progressing"}
    waiting = {"paused before the start", "paused at 10 %", "awaiting approval"}
    waiting.add("another version after a rollback, paused")
    assert {at.stage: each["status"] for at, each in zip(STAGES, found, strict=True)} == {
        at.stage: "Suspended" if at.stage in waiting else expected[at.expected] for at in STAGES
    }
    assert all(each["message"] for each in found)


def test_argo_cd_offers_the_actions_that_the_stage_allows() -> None:
    scripts = actions()
    found = judge([at.release for at in STAGES], "lua", scripts["discovery"])
    offered = {
        at.stage: {name for name, action in each.items() if not action["disabled"]}
        for at, each in zip(STAGES, found, strict=True)
    }
    assert all({*each, "discovery"} == scripts.keys() for each in found)
    assert offered["first version serves"] == set()
    assert offered["canary at 10 %"] == {"promote", "abort", "hold"}
    assert offered["awaiting approval"] == {"approve", "promote", "abort", "hold"}
    assert offered["rolled back: Latency"] == {"retry"}


@pytest.mark.parametrize("name", ["approve", "promote", "abort", "hold", "retry"])
def test_an_action_of_argo_cd_writes_one_annotation_that_names_the_revision(name: str) -> None:
    stage = "rolled back: Latency" if name == "retry" else "awaiting approval"
    (at,) = (each for each in STAGES if each.stage == stage)
    (changed,) = judge([at.release], "lua", actions()[name])
    annotations = changed["metadata"].pop("annotations")
    status = at.release["status"]
    revision = (status["rejected"] if name == "retry" else status["canary"])["revision"]
    ((key, value),) = annotations.items()
    assert key == f"{names.GROUP}/{'approved' if name == 'approve' else name}"
    assert value.split("/")[0] == revision
    before, after = json.loads(json.dumps(at.release)), changed
    before["metadata"].pop("annotations", None)
    assert after["spec"] == before["spec"], "spec is never written"


def test_the_action_release_takes_the_hold_away_and_leaves_other_annotations() -> None:
    (at,) = (each for each in STAGES if each.stage == "canary at 10 %")
    held = {**at.release, "metadata": {**at.release["metadata"]}}
    held["metadata"]["annotations"] = {f"{names.GROUP}/hold": "any", "team": "models"}
    assert judge([held], "lua", actions()["discovery"])[0]["release"] == {"disabled": False}
    (changed,) = judge([held], "lua", actions()["release"])
    assert changed["metadata"]["annotations"] == {"team": "models"}


def take(simulation: Simulation, action: str) -> None:
    """What Argo CD does when somebody clicks on an action."""
    (changed,) = judge([as_stored(simulation)], "lua", actions()[action])
    stored = simulation.server.objects[names.KIND, "iris", "iris"]
    stored["metadata"]["annotations"] = changed["metadata"]["annotations"]


def test_the_operator_obeys_the_actions_approve_and_retry() -> None:
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    steps = [{"weight": 10, "approval": True}, {"weight": 100}]
    simulation.apply("2.0.0", rollout={"steps": steps, "interval": "5s", "holdTimeout": "20s"})
    simulation.run(phase("Paused"))
    take(simulation, "approve")
    simulation.run(at_share(10))
    simulation.traffic.error = "no answer from Prometheus"
    simulation.run(lambda status: status.rejected is not None)
    simulation.traffic.error = ""
    take(simulation, "retry")
    simulation.run(lambda status: status.rejected is None and status.canary is not None)


@pytest.fixture(scope="module")
def stored(kubectl: Kubectl) -> Mapping[str, str]:
    """Some of the stages on a real API server: the name of the object by its stage."""
    found: dict[str, str] = {}
    for number, at in enumerate(STAGES):
        if at.expected == TERMINATING:
            continue
        name = found[at.stage] = f"stage-{chr(97 + number // 26)}{chr(97 + number % 26)}"
        body = manifest("1.0.0", traffic={"host": f"{name}.example.com"})
        body["metadata"] = {"name": name, "namespace": kubectl.namespace}
        kubectl.apply(body)
        status = json.loads(json.dumps(at.release["status"]))
        if status["observedGeneration"] == -1:
            continue  # what the API server answers for a status that nobody wrote
        # The object was changed once here, and more often there.
        lag = at.release["metadata"]["generation"] - status["observedGeneration"]
        status["observedGeneration"] = 1 - lag
        for condition in status["conditions"]:
            condition["observedGeneration"] = 1 - lag
        del body["spec"]
        write = json.dumps({**body, "status": status})
        kubectl.run(
            "apply", "--server-side", "--subresource=status", "--field-manager=iris-operator", "-f", "-", stdin=write
        )
    return found


def test_the_api_server_keeps_what_kstatus_needs(kubectl: Kubectl, stored: Mapping[str, str]) -> None:
    items = {each["metadata"]["name"]: each for each in json.loads(kubectl.run("get", "imr", "-o", "json"))["items"]}
    found = judge([items[name] for name in stored.values()], "kstatus")
    assert {stage: each["status"] for stage, each in zip(stored, found, strict=True)} == {
        at.stage: at.expected for at in STAGES if at.stage in stored
    }


def test_the_table_of_kubectl_has_the_verdict_of_every_stage(kubectl: Kubectl, stored: Mapping[str, str]) -> None:
    head, *rows = kubectl.run("get", "imr").splitlines()
    begin, end = head.index("VERDICT"), head.index("AGE")
    verdicts = {row.split()[0]: row[begin:end].strip() for row in rows}
    assert {stage: verdicts[name] for stage, name in stored.items()} == {
        at.stage: at.verdict for at in STAGES if at.stage in stored
    }


def test_kubectl_wait_for_promoted_ends_only_when_the_version_serves(
    kubectl: Kubectl, stored: Mapping[str, str]
) -> None:
    """The ones for which it must wait are awaited together, each until its timeout."""
    promoted = {at.stage for at in STAGES if at.expected == CURRENT}
    waited = {stage: name for stage, name in stored.items() if stage not in promoted}
    for stage in promoted:
        kubectl.run("wait", "imr", stored[stage], "--for=condition=Promoted", "--timeout=1s")
    command = [component("kubectl"), f"--kubeconfig={kubectl.kubeconfig}", f"--namespace={kubectl.namespace}"]
    command += ["wait", "imr", *waited.values(), "--for=condition=Promoted", "--timeout=1s"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("timed out waiting") == len(waited), done.stderr
    assert "condition met" not in done.stdout
