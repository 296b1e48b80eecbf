"""The installed configuration in a real Alertmanager: who is told of what, together with what, and what is left out."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from integration.harness.process import ServerProcess, free_port
from integration.harness.tools import component
from integration.harness.webhook import Webhook, listening
from unit.observability.repository import OBSERVABILITY, alerts

CONFIG = OBSERVABILITY / "alertmanager" / "alertmanager.yml"
RECEIVERS = ("team", "pager", "heartbeat")
RELEASE = {"namespace": "iris", "release": "iris", "version": "3.0.0"}
# group_wait and what a busy machine adds to it.
PATIENCE = 30.0


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    with listening("127.0.0.1") as started:
        yield started


@pytest.fixture(scope="module")
def alertmanager(webhook: Webhook, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("alertmanager")
    for receiver in RECEIVERS:
        (folder / receiver).write_text(f"{webhook.url}/{receiver}")
    config = folder / "alertmanager.yml"
    config.write_text(CONFIG.read_text().replace("/etc/alertmanager/webhooks", str(folder)))
    url = f"http://127.0.0.1:{free_port()}"
    server = ServerProcess(
        [
            component("alertmanager"),
            f"--config.file={config}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address={url.removeprefix('http://')}",
            "--cluster.listen-address=",
        ],
        folder / "log",
        ready=lambda: answers(url),
    )
    server.start()
    yield url
    server.stop()


@pytest.fixture(scope="module")
def told(alertmanager: str, webhook: Webhook) -> Webhook:
    """Everything at once, as on a bad day; then the news that come of it."""
    fire(
        alertmanager,
        ("IrisWatchdog", {}),
        ("IrisCanaryNeverReady", {**RELEASE, "reason": "Crash"}),
        ("IrisReleaseRolledBack", {**RELEASE, "reason": "Crash"}),
        ("IrisReleaseRolledBack", {**RELEASE, "release": "other", "reason": "Latency"}),
        ("IrisErrorBudgetBurnsFast", RELEASE),
        ("IrisErrorBudgetBurnsSlowly", RELEASE),
        ("IrisOperatorDown", {}),
        ("IrisOperatorNotReconciling", {"namespace": "iris", "release": "iris"}),
        ("IrisTargetDown", {"job": "iris-kubelet", "instance": "a"}),
        ("IrisTargetDown", {"job": "iris-kubelet", "instance": "b"}),
    )
    # The last group to be told of: those that are no more than a warning wait longest.
    webhook.until(lambda seen: sum(one.name == "IrisTargetDown" for one in seen) >= 2, PATIENCE)
    webhook.until_firing("IrisReleaseRolledBack", PATIENCE, release="other")
    return webhook


def test_critical_alerts_go_to_the_pager_and_others_to_the_team(told: Webhook) -> None:
    by_name = {one.name: one.receiver for one in told.told()}
    assert by_name == {
        "IrisWatchdog": "heartbeat",
        "IrisCanaryNeverReady": "pager",
        "IrisErrorBudgetBurnsFast": "pager",
        "IrisOperatorDown": "pager",
        "IrisReleaseRolledBack": "team",
        "IrisTargetDown": "team",
    }


def test_consequences_of_what_is_told_of_are_left_out_and_the_same_of_others_is_not(told: Webhook) -> None:
    rolled_back = {one.labels["release"] for one in told.told() if one.name == "IrisReleaseRolledBack"}
    assert rolled_back == {"other"}
    assert not {"IrisErrorBudgetBurnsSlowly", "IrisOperatorNotReconciling"} & {one.name for one in told.told()}


def test_what_is_wrong_in_one_way_comes_in_one_message(told: Webhook) -> None:
    (together,) = (
        message for message in told.notifications() if message["commonLabels"].get("alertname") == "IrisTargetDown"
    )
    assert {alert["labels"]["instance"] for alert in together["alerts"]} == {"a", "b"}


def test_whoever_is_told_is_told_where_to_read_on(told: Webhook) -> None:
    assert all(one.annotations["runbook_url"].endswith(f"/{one.name}.md") for one in told.told())


def fire(url: str, *fired: tuple[str, dict[str, str]]) -> None:
    body = [
        {
            "labels": {"alertname": name, **alerts()[name]["labels"], **labels},
            "annotations": {"runbook_url": alerts()[name]["annotations"]["runbook_url"]},
        }
        for name, labels in fired
    ]
    request = urllib.request.Request(
        f"{url}/api/v2/alerts", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert answer.status == 200


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False
