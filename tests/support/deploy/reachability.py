"""What NetworkPolicies let through, computed as the API documents it. Pure; a field that it does not know fails.

Only connections that begin at one place and end at another count: answers, and probes from a pod's own node, are
always let through.
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
    """A pod, or with `address` something that is none: the API server, a machine on the internet."""

    name: str
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    address: str = ""


def reachable(policies: Iterable[Manifest], source: Pod, target: Pod, port: int, protocol: str = "TCP") -> bool:
    """Whether a connection from `source` to a port of `target` is let through by both of their ends."""
    policies = list(policies)
    return may_leave(policies, source, target, port, protocol) and may_enter(policies, source, target, port, protocol)


def may_leave(policies: Iterable[Manifest], source: Pod, target: Pod, port: int, protocol: str = "TCP") -> bool:
    """Whether the policies of the source's end let it through."""
    return _passes(list(policies), "Egress", source, target, target, port, protocol)


def may_enter(policies: Iterable[Manifest], source: Pod, target: Pod, port: int, protocol: str = "TCP") -> bool:
    """Whether the policies of the target's end let it through."""
    return _passes(list(policies), "Ingress", target, source, target, port, protocol)


def _passes(
    policies: Sequence[Manifest], direction: str, here: Pod, there: Pod, target: Pod, port: int, protocol: str
) -> bool:
    applying = [policy for policy in policies if _applies(policy, direction, here)]
    if not applying:
        return True  # no policy of this direction selects it: everything passes
    peers, rules = ("from", "ingress") if direction == "Ingress" else ("to", "egress")
    for policy in applying:
        for rule in policy["spec"].get(rules, []):
            _know(rule, {peers, "ports"})
            namespace = policy["metadata"]["namespace"]
            if _any_peer(rule.get(peers), namespace, there) and _any_port(rule.get("ports"), target, port, protocol):
                return True
    return False


def _applies(policy: Manifest, direction: str, pod: Pod) -> bool:
    spec = policy["spec"]
    _know(spec, {"podSelector", "policyTypes", "ingress", "egress"})
    return (
        not pod.address
        and direction in spec["policyTypes"]
        and policy["metadata"]["namespace"] == pod.namespace
        and _selects(spec["podSelector"], pod.labels)
    )


def _any_peer(peers: Sequence[Manifest] | None, namespace: str, pod: Pod) -> bool:
    return not peers or any(_is_peer(peer, namespace, pod) for peer in peers)


def _is_peer(peer: Manifest, namespace: str, pod: Pod) -> bool:
    _know(peer, {"podSelector", "namespaceSelector", "ipBlock"})
    if "ipBlock" in peer:
        _know(peer["ipBlock"], {"cidr"})
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
        _know(wanted, {"port", "protocol"})
        number = wanted["port"] if isinstance(wanted["port"], int) else target.ports.get(wanted["port"])
        if (number, wanted.get("protocol", "TCP")) == (port, protocol):
            return True
    return False


def _selects(selector: Manifest, labels: Mapping[str, str]) -> bool:
    _know(selector, {"matchLabels", "matchExpressions"})
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
    raise AssertionError(f"operator {operator} is not known here")


def _know(part: Manifest, fields: set[str]) -> None:
    assert part.keys() <= fields, f"{part.keys() - fields} is not known here"
