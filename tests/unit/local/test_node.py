from pathlib import Path
from urllib.parse import urlsplit

import yaml

from iris_demo.story import PREDICT_URL
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
    assert config["cgroupRoot"] == f"/{PATHS.mark}"


def test_the_kubelet_keeps_images_because_none_can_be_pulled_again() -> None:
    assert node.kubelet_configuration(PATHS)["imageGCHighThresholdPercent"] == 100


def test_what_is_loaded_is_for_every_pod_and_what_is_pulled_for_who_may_pull_it() -> None:
    config = node.kubelet_configuration(PATHS)
    assert config["imagePullCredentialsVerificationPolicy"] == "NeverVerifyAllowlistedImages"
    assert config["preloadedImagesVerificationAllowlist"] == ["localhost/*"]
    assert not registry.ADDRESS.startswith("localhost")


def test_the_kubelet_answers_nobody_without_a_certificate() -> None:
    config = node.kubelet_configuration(PATHS)
    assert config["authentication"]["anonymous"] == {"enabled": False}
    assert config["authorization"] == {"mode": "Webhook"}
    assert "readOnlyPort" not in config


def test_pod_logs_and_plugins_stay_in_the_clusters_folder() -> None:
    config = node.kubelet_configuration(PATHS)
    for place in (config["podLogsDir"], config["volumePluginDir"]):
        assert Path(place).is_relative_to(PATHS.cluster)


def test_node_ports_answer_on_this_machine_only() -> None:
    assert node.proxy_configuration(Path("/access"))["nodePortAddresses"] == ["127.0.0.0/8"]


def test_the_api_server_is_named_by_every_way_that_leads_to_it() -> None:
    assert {
        "DNS:kubernetes.default.svc",
        "IP:127.0.0.1",
        f"IP:{network.NODE_ADDRESS}",
        f"IP:{network.API_SERVICE}",
    } <= set(node.ADDRESSES.names)


def test_only_servers_certificates_name_addresses() -> None:
    named = {identity.name for identity in pki.identities(["IP:127.0.0.1"], "n", "10.0.0.1") if identity.addresses}
    assert named == {"etcd", "apiserver", "kubelet-server", "ingress", "registry"}


def test_the_ingress_controller_s_key_opens_nothing_at_the_api_server() -> None:
    signed = {i.name: i.authority for i in pki.identities(["IP:127.0.0.1"], "n", "10.0.0.1")}
    assert signed["ingress"] not in {signed["admin"], signed["etcd-client"]}


def test_a_clients_certificate_does_not_serve() -> None:
    client = pki.extension_file(pki.Identity("admin", "/CN=admin"))
    server = pki.extension_file(pki.Identity("apiserver", "/CN=api", addresses=("DNS:kubernetes", "IP:10.0.0.1")))
    assert "extendedKeyUsage=clientAuth\n" in client
    assert "subjectAltName=DNS:kubernetes,IP:10.0.0.1\n" in server


def test_nobody_but_the_api_server_has_a_certificate_for_etcd() -> None:
    signed = {i.name for i in pki.identities(["IP:127.0.0.1"], "n", "10.0.0.1") if i.authority == "etcd-ca"}
    assert signed == {"etcd", "etcd-client"}


def test_the_registrys_key_opens_nothing_at_the_api_server() -> None:
    signed = {i.name: i.authority for i in pki.identities(["IP:127.0.0.1"], "n", "10.0.0.1")}
    assert signed["registry"] not in {signed["admin"], signed["etcd-client"]}


def test_pods_ask_the_dns_service_where_the_manifest_puts_it() -> None:
    (service,) = [item for item in OBJECTS if item["kind"] == "Service" and item["metadata"]["name"] == "kube-dns"]
    assert service["spec"]["clusterIP"] == network.DNS_SERVICE
    assert node.kubelet_configuration(PATHS)["clusterDNS"] == [network.DNS_SERVICE]


def test_the_ingress_controller_is_published_where_the_readiness_check_and_the_demo_ask() -> None:
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


def test_files_that_are_right_already_are_not_written_because_that_would_end_their_reader(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    cluster = node.Node(paths, tmp_path, Supervisor(tmp_path, paths.logs))
    file = cluster.file("proxy.json", "{}")
    before = file.stat().st_mtime_ns
    assert cluster.file("proxy.json", "{}").stat().st_mtime_ns == before
    assert cluster.file("proxy.json", "{ }").read_text() == "{ }"
