"""The computation itself, on policies small enough to be read at a glance."""

from __future__ import annotations

from typing import Any

import pytest

from support.deploy.reachability import Pod, reachable

A = Pod("a", "one", {"app": "a"})
B = Pod("b", "one", {"app": "b"}, {"http": 8080})
FAR = Pod("far", "two", {"app": "a"})
OUTSIDE = Pod("outside", address="192.0.2.7")


def policy(namespace: str, selector: dict[str, Any], **rules: Any) -> dict[str, Any]:
    types = [direction.capitalize() for direction in rules]
    return {"metadata": {"namespace": namespace}, "spec": {"podSelector": selector, "policyTypes": types, **rules}}


DENY = policy("one", {}, ingress=[], egress=[])
APP_A = {"matchLabels": {"app": "a"}}


def test_without_a_policy_everything_is_allowed() -> None:
    assert reachable([], A, B, 8080)
    assert reachable([], OUTSIDE, B, 1)


def test_a_connection_must_be_allowed_by_both_ends() -> None:
    assert not reachable([DENY], A, B, 8080)
    assert not reachable([DENY], FAR, B, 8080)
    assert not reachable([DENY], A, FAR, 8080)
    assert reachable([DENY], FAR, Pod("other", "two"), 8080)


@pytest.mark.parametrize(
    ("source", "port", "passes"), [(A, 8080, True), (A, 8081, False), (FAR, 8080, False), (OUTSIDE, 8080, False)]
)
def test_a_peer_without_a_namespace_is_in_the_policys_namespace(source: Pod, port: int, passes: bool) -> None:
    rule = {"from": [{"podSelector": APP_A}], "ports": [{"port": "http"}]}
    allow = policy("one", {"matchLabels": {"app": "b"}}, ingress=[rule])
    leave = policy("one", APP_A, egress=[{}])
    assert reachable([DENY, allow, leave], source, B, port) is passes


def test_a_namespace_and_a_pod_selector_in_one_peer_must_both_match() -> None:
    both = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "two"}}, "podSelector": APP_A}
    allow = policy("one", {}, ingress=[{"from": [both]}])
    assert reachable([DENY, allow], FAR, B, 8080)
    assert not reachable([DENY, allow], Pod("else", "two", {"app": "else"}), B, 8080)
    assert not reachable([DENY, allow, policy("one", {}, egress=[{}])], A, B, 8080)


def test_an_address_is_not_a_pod() -> None:
    allow = policy("one", {}, egress=[{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"port": 443}]}])
    assert reachable([DENY, allow], A, OUTSIDE, 443)
    assert not reachable([DENY, allow], A, OUTSIDE, 80)
    assert not reachable([DENY, allow], A, Pod("next", address="198.51.100.1"), 443)
    assert not reachable([DENY, allow], A, FAR, 443)


def test_unsupported_fields_fail() -> None:
    with pytest.raises(AssertionError, match="endPort"):
        reachable([policy("one", {}, egress=[{"ports": [{"port": 1, "endPort": 9}]}])], A, B, 1)
