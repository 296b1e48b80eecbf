"""The scrape jobs in both forms: Prometheus' own, and the objects for the Prometheus Operator."""

import re
from typing import Any

import yaml

from iris_local import node
from support.observability.repository import OBSERVABILITY, ROOT, groups, load

SCRAPES = ROOT / "deploy" / "base" / "prometheus"
# Labels that the rules read of what is scraped by whom.
JOBS = {"inference.yml", "kubelet.yml", "monitoring.yml", "operator.yml"}


def jobs() -> dict[str, dict[str, Any]]:
    return {job["job_name"]: job for name in JOBS for job in load(SCRAPES / name)["scrape_configs"]}


def monitors() -> dict[str, dict[str, Any]]:
    documents = yaml.safe_load_all((OBSERVABILITY / "prometheus-operator" / "monitors.yaml").read_text())
    return {item["metadata"]["name"]: item["spec"] for item in documents}


def endpoint(monitor: dict[str, Any]) -> dict[str, Any]:
    (found,) = monitor.get("podMetricsEndpoints") or monitor["endpoints"]
    return dict(found)


def labels(rules: list[dict[str, Any]], source: str, target: str) -> dict[str, Any]:
    return {rule[target]: rule.get(source) for rule in rules if rule.get(target, "__address__") != "__address__"}


def test_pods_get_the_same_labels_from_either_prometheus() -> None:
    for name in ("iris-inference", "iris-operator"):
        job, monitor = jobs()[name], endpoint(monitors()[name])
        ours = labels(job["relabel_configs"], "source_labels", "target_label")
        theirs = labels(monitor["relabelings"], "sourceLabels", "targetLabel")
        assert {**ours, "job": None} == theirs, name
        assert monitor["relabelings"][0] == {"targetLabel": "job", "replacement": name}
        assert monitor.get("honorLabels", False) == job.get("honor_labels", False), name


def test_the_same_pods_are_selected() -> None:
    for name in ("iris-inference", "iris-operator"):
        (discovery,) = jobs()[name]["kubernetes_sd_configs"]
        (selector,) = discovery["selectors"]
        monitor = monitors()[name]
        wanted = monitor["selector"]
        chosen = [f"{key}={value}" for key, value in wanted.get("matchLabels", {}).items()] or [
            rule["key"] for rule in wanted["matchExpressions"] if rule["operator"] == "Exists"
        ]
        assert chosen == [selector["label"]]
        assert monitor["namespaceSelector"]["matchNames"] == discovery["namespaces"]["names"]


def test_the_same_series_of_the_kubelet_are_kept() -> None:
    job, monitor = jobs()["iris-kubelet"], endpoint(monitors()["iris-kubelet"])
    ours = [(rule["source_labels"], rule["regex"], rule["action"]) for rule in job["metric_relabel_configs"]]
    theirs = [(rule["sourceLabels"], rule["regex"], rule["action"]) for rule in monitor["metricRelabelings"]]
    assert ours == theirs
    assert (monitor["path"], monitor["scheme"]) == (job["metrics_path"], job["scheme"])
    assert (monitor["interval"], monitor["honorLabels"]) == (job["scrape_interval"], job["honor_labels"])


def test_prometheus_scrapes_the_kubelets_port_of_the_local_cluster() -> None:
    places = [rule["replacement"] for rule in jobs()["iris-kubelet"]["relabel_configs"] if "replacement" in rule]
    assert places == [f"$1:{node.KUBELET_PORT}"]


def test_rules_use_only_existing_jobs() -> None:
    named = {
        name for group in groups() for rule in group["rules"] for name in re.findall(r'job="([\w-]+)"', rule["expr"])
    }
    assert named
    assert named <= set(jobs())
    assert set(monitors()) <= set(jobs())
