"""The installed configuration in a real Alertmanager: routing, grouping and inhibition."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from support.observability.repository import OBSERVABILITY, alerts
from support.servers.process import ServerProcess, free_port
from support.servers.tools import component
from support.servers.webhook import Webhook, run_webhook

CONFIG = OBSERVABILITY / "alertmanager" / "alertmanager.yml"
RECEIVERS = ("team", "pager", "heartbeat")
RELEASE = {"namespace": "iris", "release": "iris", "version": "3.0.0"}
# group_wait and what a busy machine adds to it.
PATIENCE = 30.0


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    with run_webhook("127.0.0.1") as started:
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
def received(alertmanager: str, webhook: Webhook) -> Webhook:
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
    # The last group to be sent: warnings wait longest.
    webhook.wait_for(lambda seen: sum(one.name == "IrisTargetDown" for one in seen) >= 2, PATIENCE)
    webhook.wait_for_firing("IrisReleaseRolledBack", PATIENCE, release="other")
    return webhook


def test_critical_alerts_go_to_the_pager_and_others_to_the_team(received: Webhook) -> None:
    by_name = {one.name: one.receiver for one in received.alerts()}
    assert by_name == {
        "IrisWatchdog": "heartbeat",
        "IrisCanaryNeverReady": "pager",
        "IrisErrorBudgetBurnsFast": "pager",
        "IrisOperatorDown": "pager",
        "IrisReleaseRolledBack": "team",
        "IrisTargetDown": "team",
    }


def test_consequences_of_a_firing_alert_are_inhibited_for_the_same_release_only(received: Webhook) -> None:
    rolled_back = {one.labels["release"] for one in received.alerts() if one.name == "IrisReleaseRolledBack"}
    assert rolled_back == {"other"}
    assert not {"IrisErrorBudgetBurnsSlowly", "IrisOperatorNotReconciling"} & {one.name for one in received.alerts()}


def test_alerts_of_one_kind_are_grouped_into_one_notification(received: Webhook) -> None:
    (together,) = (
        message for message in received.notifications() if message["commonLabels"].get("alertname") == "IrisTargetDown"
    )
    assert {alert["labels"]["instance"] for alert in together["alerts"]} == {"a", "b"}


def test_notifications_have_a_runbook_link(received: Webhook) -> None:
    assert all(one.annotations["runbook_url"].endswith(f"/{one.name}.md") for one in received.alerts())


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
