import ipaddress

import pytest

from iris_local import network

SAVED = """\
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:IRIS-LOCAL - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-ABC - [0:0]
:DOCKER - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -j IRIS-LOCAL
-A KUBE-SERVICES -d 10.213.128.1/32 -p tcp -j KUBE-SVC-ABC
-A DOCKER -i docker0 -j RETURN
COMMIT
*filter
:INPUT DROP [0:0]
-A INPUT -i lo -j ACCEPT
COMMIT
"""


def test_only_our_chains_and_the_rules_that_jump_to_them_are_removed() -> None:
    assert network.removal_script(SAVED).splitlines() == [
        "*nat",
        ":IRIS-LOCAL - [0:0]",
        ":KUBE-SERVICES - [0:0]",
        ":KUBE-SVC-ABC - [0:0]",
        '-D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
        "-D POSTROUTING -j IRIS-LOCAL",
        "-X IRIS-LOCAL",
        "-X KUBE-SERVICES",
        "-X KUBE-SVC-ABC",
        "COMMIT",
    ]


def test_tables_without_our_chains_are_not_changed() -> None:
    others = "*filter\n:INPUT DROP [0:0]\n:DOCKER - [0:0]\n-A INPUT -j DOCKER\nCOMMIT\n"
    assert network.removal_script(others) == ""


@pytest.mark.parametrize(
    ("destinations", "taken"),
    [
        (["default", "192.0.2.0/24", "10.212.0.0/16"], []),
        (["10.0.0.0/8"], ["10.0.0.0/8"]),
        (["10.213.4.0/24", "198.51.100.7"], ["10.213.4.0/24"]),
        (["10.213.255.1"], ["10.213.255.1"]),
    ],
)
def test_routes_into_our_range_are_detected(destinations: list[str], taken: list[str]) -> None:
    assert network.overlapping("10.213.0.0/16", destinations) == taken


def test_the_devices_of_pods_are_distinguished_from_others() -> None:
    routes = [
        {"dst": "default", "dev": "eth0"},
        {"dst": "10.213.0.76", "dev": "vethf4866469"},
        {"dst": "10.213.255.1", "dev": "iris0"},
        {"dst": "10.88.0.3", "dev": "veth1"},
    ]
    assert network.pod_devices(routes) == ["vethf4866469"]


def test_pods_services_and_the_node_have_disjoint_addresses() -> None:
    pods, services = ipaddress.ip_network(network.POD_RANGE), ipaddress.ip_network(network.SERVICE_RANGE)
    node = ipaddress.ip_address(network.NODE_ADDRESS)
    assert not pods.overlaps(services)
    assert node not in pods
    assert node not in services


def test_the_fixed_services_are_in_the_service_range() -> None:
    services = ipaddress.ip_network(network.SERVICE_RANGE)
    assert ipaddress.ip_address(network.DNS_SERVICE) in services
    # Kubernetes itself gives the first address to the API server.
    assert ipaddress.ip_address(network.API_SERVICE) == services[1]
