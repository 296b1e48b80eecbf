from pathlib import Path
from urllib.parse import urlsplit

import yaml

from iris_demo.addresses import PREDICT_URL
from iris_local import addons, components, network, node, pki, registry
from iris_local.paths import LOCAL, Paths
from iris_local.processes import Supervisor

PATHS = Paths(Path("/cache"))
OBJECTS = [
    item for file in sorted((LOCAL / "manifests").glob("*.yaml")) for item in yaml.safe_load_all(file.read_text())
]


def test_the_kubelet_runs_on_either_version_of_control_groups_and_with_swap() -> None:
    config = node.kubelet_configuration(PATHS)
    assert config["failCgroupV1"] is False
    assert config["failSwapOn"] is False
    assert config["cgroupDriver"] == "cgroupfs"
    assert config["cgroupRoot"] == f"/{PATHS.cluster_id}"


def test_the_kubelet_keeps_images_because_none_can_be_pulled_again() -> None:
    assert node.kubelet_configuration(PATHS)["imageGCHighThresholdPercent"] == 100


def test_loaded_images_are_for_every_pod_and_pulled_ones_need_the_pull_secret() -> None:
    config = node.kubelet_configuration(PATHS)
    assert config["imagePullCredentialsVerificationPolicy"] == "NeverVerifyAllowlistedImages"
    assert config["preloadedImagesVerificationAllowlist"] == ["localhost/*"]
    assert not registry.ADDRESS.startswith("localhost")


def test_the_kubelet_rejects_anonymous_requests() -> None:
    config = node.kubelet_configuration(PATHS)
    assert config["authentication"]["anonymous"] == {"enabled": False}
    assert config["authorization"] == {"mode": "Webhook"}
    assert "readOnlyPort" not in config


def test_pod_logs_and_plugins_stay_in_the_clusters_folder() -> None:
    config = node.kubelet_configuration(PATHS)
    for place in (config["podLogsDir"], config["volumePluginDir"]):
        assert Path(place).is_relative_to(PATHS.cluster)


def test_node_ports_are_open_on_this_machine_only() -> None:
    assert node.proxy_configuration(Path("/access"))["nodePortAddresses"] == ["127.0.0.0/8"]


def test_the_api_servers_certificate_has_every_name_and_address_of_it() -> None:
    assert {
        "DNS:kubernetes.default.svc",
        "IP:127.0.0.1",
        f"IP:{network.NODE_ADDRESS}",
        f"IP:{network.API_SERVICE}",
    } <= set(node.ADDRESSES.names)


def test_only_server_certificates_have_addresses() -> None:
    named = {identity.name for identity in pki.identities(["IP:127.0.0.1"], "n", "10.0.0.1") if identity.addresses}
    assert named == {"etcd", "apiserver", "kubelet-server", "ingress", "registry"}


def test_the_api_server_does_not_accept_the_ingress_controllers_certificate() -> None:
    signed = {i.name: i.authority for i in pki.identities(["IP:127.0.0.1"], "n", "10.0.0.1")}
    assert signed["ingress"] not in {signed["admin"], signed["etcd-client"]}


def test_a_client_certificate_is_not_a_server_certificate() -> None:
    client = pki.extension_config(pki.Identity("admin", "/CN=admin"))
    server = pki.extension_config(pki.Identity("apiserver", "/CN=api", addresses=("DNS:kubernetes", "IP:10.0.0.1")))
    assert "extendedKeyUsage=clientAuth\n" in client
    assert "subjectAltName=DNS:kubernetes,IP:10.0.0.1\n" in server


def test_nobody_but_the_api_server_has_a_certificate_for_etcd() -> None:
    signed = {i.name for i in pki.identities(["IP:127.0.0.1"], "n", "10.0.0.1") if i.authority == "etcd-ca"}
    assert signed == {"etcd", "etcd-client"}


def test_the_api_server_does_not_accept_the_registrys_certificate() -> None:
    signed = {i.name: i.authority for i in pki.identities(["IP:127.0.0.1"], "n", "10.0.0.1")}
    assert signed["registry"] not in {signed["admin"], signed["etcd-client"]}


def test_pods_use_the_address_of_the_dns_service_in_the_manifest() -> None:
    (service,) = [item for item in OBJECTS if item["kind"] == "Service" and item["metadata"]["name"] == "kube-dns"]
    assert service["spec"]["clusterIP"] == network.DNS_SERVICE
    assert node.kubelet_configuration(PATHS)["clusterDNS"] == [network.DNS_SERVICE]


def test_the_ingress_controllers_ports_are_those_of_the_readiness_check_and_the_demo() -> None:
    ports = [
        port.get("nodePort")
        for item in OBJECTS
        if item["kind"] == "Service" and item["metadata"]["name"] == "traefik"
        for port in item["spec"]["ports"]
    ]
    assert ports == [addons.INGRESS_PORT, urlsplit(PREDICT_URL).port]


def test_the_manifests_run_the_versions_that_are_built() -> None:
    used = {
        container["image"]
        for item in OBJECTS
        if item["kind"] == "Deployment"
        for container in item["spec"]["template"]["spec"]["containers"]
    }
    assert used == {f"localhost/{name}:{components.get(name).version}" for name in ("coredns", "traefik", "registry")}


def test_unchanged_files_are_not_written_because_that_would_end_kube_proxy(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    cluster = node.Node(paths, tmp_path, Supervisor(tmp_path, paths.logs))
    file = cluster._write_file("proxy.json", "{}")
    before = file.stat().st_mtime_ns
    assert cluster._write_file("proxy.json", "{}").stat().st_mtime_ns == before
    assert cluster._write_file("proxy.json", "{ }").read_text() == "{ }"
