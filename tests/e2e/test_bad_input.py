"""What cannot work is refused by the API server itself, with the field named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from iris_demo.kube import ApiError, KubeClient
from iris_demo.resources import RELEASES
from support.e2e.releases import release

Spec = dict[str, Any]


def _unknown_router(spec: Spec) -> None:
    spec["traffic"]["router"] = "Mesh"


def _falling_steps(spec: Spec) -> None:
    spec["rollout"] = {"steps": [{"weight": 50}, {"weight": 20}]}


def _weight_101(spec: Spec) -> None:
    spec["rollout"] = {"steps": [{"weight": 101}]}


def _no_tag(spec: Spec) -> None:
    spec["model"]["image"] = "registry.example.com/iris-inference"


def _latest(spec: Spec) -> None:
    spec["model"]["image"] = "registry.example.com/iris-inference:latest"


def _bad_duration(spec: Spec) -> None:
    spec["rollout"] = {"interval": "soon"}


def _bad_step_duration(spec: Spec) -> None:
    spec["rollout"] = {"steps": [{"weight": 100, "minDuration": "10 minutes"}]}


def _unknown_field(spec: Spec) -> None:
    spec["rollout"] = {"wieght": 10}


def _no_host(spec: Spec) -> None:
    del spec["traffic"]["host"]


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        (_unknown_router, "spec.traffic.router"),
        (_falling_steps, "spec.rollout.steps"),
        (_weight_101, "spec.rollout.steps[0].weight"),
        (_no_tag, "spec.model.image"),
        (_latest, "spec.model.image"),
        (_bad_duration, "spec.rollout.interval"),
        (_bad_step_duration, "spec.rollout.steps[0].minDuration"),
        (_unknown_field, "spec.rollout.wieght"),
        (_no_host, "spec.traffic.host"),
    ],
)
async def test_bad_input_is_refused_with_the_field_named(
    kube: KubeClient, spoil: Callable[[Spec], None], field: str
) -> None:
    bad = release("e2e-bad-input", "1.0.0")
    spoil(bad["spec"])
    with pytest.raises(ApiError) as refused:
        await kube.create(RELEASES, bad, dry_run=True)
    assert refused.value.status in {400, 422}
    assert field in refused.value.message


async def test_the_unmodified_release_is_accepted(kube: KubeClient) -> None:
    await kube.create(RELEASES, release("e2e-bad-input", "1.0.0"), dry_run=True)


async def test_a_minimal_release_is_accepted_and_gets_defaults(kube: KubeClient) -> None:
    minimal = release("e2e-bad-input", "1.0.0")
    minimal["spec"] = {
        "model": minimal["spec"]["model"],
        "serving": {"replicas": 1},
        "traffic": {"host": "minimal.example.com"},
    }
    created = await kube.create(RELEASES, minimal, dry_run=True)
    assert created["spec"]["traffic"]["router"] == "Ingress"
    assert created["spec"]["rollout"]["interval"] == "10s"
    assert created["spec"]["analysis"]["checks"]["errorRate"]
