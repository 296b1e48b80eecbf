"""Evaluates NetworkPolicies as the API documents them. Pure; an unsupported field fails.

Only new connections between two places count: responses, and probes from a pod's own node, are always allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Manifest = Mapping[str, Any]
NAMESPACE_NAME = "kubernetes.io/metadata.name"


@dataclass(frozen=True)
class Pod:
    """A pod, or with `address` something else: the API server, a machine on the internet."""

    name: str
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    address: str = ""


def reachable(policies: Iterable[Manifest], source: Pod, target: Pod, port: int, protocol: str = "TCP") -> bool:
    """Whether the policies of both ends allow a connection from `source` to a port of `target`."""
    policies = list(policies)
    return egress_allowed(policies, source, target, port, protocol) and ingress_allowed(
        policies, source, target, port, protocol
    )


def egress_allowed(policies: Iterable[Manifest], source: Pod, target: Pod, port: int, protocol: str = "TCP") -> bool:
    """Whether the source's egress policies allow it."""
    return _allowed(list(policies), "Egress", source, target, target, port, protocol)


def ingress_allowed(policies: Iterable[Manifest], source: Pod, target: Pod, port: int, protocol: str = "TCP") -> bool:
    """Whether the target's ingress policies allow it."""
    return _allowed(list(policies), "Ingress", target, source, target, port, protocol)


def _allowed(
    policies: Sequence[Manifest], direction: str, here: Pod, there: Pod, target: Pod, port: int, protocol: str
) -> bool:
    applying = [policy for policy in policies if _applies(policy, direction, here)]
    if not applying:
        return True  # no policy of this direction selects it: everything is allowed
    peers, rules = ("from", "ingress") if direction == "Ingress" else ("to", "egress")
    for policy in applying:
        for rule in policy["spec"].get(rules, []):
            _require_known_fields(rule, {peers, "ports"})
            namespace = policy["metadata"]["namespace"]
            if _any_peer(rule.get(peers), namespace, there) and _any_port(rule.get("ports"), target, port, protocol):
                return True
    return False


def _applies(policy: Manifest, direction: str, pod: Pod) -> bool:
    spec = policy["spec"]
    _require_known_fields(spec, {"podSelector", "policyTypes", "ingress", "egress"})
    return (
        not pod.address
        and direction in spec["policyTypes"]
        and policy["metadata"]["namespace"] == pod.namespace
        and _selects(spec["podSelector"], pod.labels)
    )


def _any_peer(peers: Sequence[Manifest] | None, namespace: str, pod: Pod) -> bool:
    return not peers or any(_is_peer(peer, namespace, pod) for peer in peers)


def _is_peer(peer: Manifest, namespace: str, pod: Pod) -> bool:
    _require_known_fields(peer, {"podSelector", "namespaceSelector", "ipBlock"})
    if "ipBlock" in peer:
        _require_known_fields(peer["ipBlock"], {"cidr"})
        return bool(pod.address) and ip_address(pod.address) in ip_network(peer["ipBlock"]["cidr"])
    if pod.address:
        return False
    if "namespaceSelector" in peer:
        in_namespace = _selects(peer["namespaceSelector"], {NAMESPACE_NAME: pod.namespace})
    else:
        in_namespace = pod.namespace == namespace
    return in_namespace and _selects(peer.get("podSelector", {}), pod.labels)


def _any_port(ports: Sequence[Manifest] | None, target: Pod, port: int, protocol: str) -> bool:
    if not ports:
        return True
    for wanted in ports:
        _require_known_fields(wanted, {"port", "protocol"})
        number = wanted["port"] if isinstance(wanted["port"], int) else target.ports.get(wanted["port"])
        if (number, wanted.get("protocol", "TCP")) == (port, protocol):
            return True
    return False


def _selects(selector: Manifest, labels: Mapping[str, str]) -> bool:
    _require_known_fields(selector, {"matchLabels", "matchExpressions"})
    wanted: Mapping[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= dict(labels).items() and all(
        _expression(expression, labels) for expression in selector.get("matchExpressions", [])
    )


def _expression(expression: Manifest, labels: Mapping[str, str]) -> bool:
    value, operator = labels.get(expression["key"]), expression["operator"]
    if operator == "Exists":
        return value is not None
    if operator == "In":
        return value in expression["values"]
    raise AssertionError(f"operator {operator} is not supported here")


def _require_known_fields(part: Manifest, fields: set[str]) -> None:
    assert part.keys() <= fields, f"{part.keys() - fields} is not supported here"
