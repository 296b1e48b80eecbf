"""etcd and kube-apiserver. Their command lines are used by the local cluster and by tests that only need an API."""

import http.client
import ssl
from dataclasses import dataclass
from pathlib import Path

from iris_local import packages
from iris_local.processes import Supervisor

_LOOPBACK = "127.0.0.1"
# On two cores that are busy with a build or a demo, a start takes many times the usual 8 s.
_TIMEOUT_SECONDS = 180.0


@dataclass(frozen=True)
class Addresses:
    """Where the two servers listen. Clients without a certificate of the cluster are rejected."""

    host: str
    port: int
    etcd_port: int
    etcd_peer_port: int
    service_range: str
    service_host: str

    @property
    def url(self) -> str:
        """The API server's address."""
        return f"https://{self.host}:{self.port}"

    @property
    def names(self) -> tuple[str, ...]:
        """The names in the API server's certificate."""
        service = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
        hosts = dict.fromkeys([_LOOPBACK, self.host, self.service_host])
        return (*(f"DNS:{name}" for name in service), *(f"IP:{host}" for host in hosts))


def ensure(supervisor: Supervisor, addresses: Addresses, certificates: Path, data: Path, programs: Path) -> None:
    """Starts the servers that do not run yet and waits until the API server is ready."""
    supervisor.ensure("etcd", etcd_command(packages.find("etcd"), addresses, certificates, data))
    # The API server retries until etcd responds, so there is nothing to wait for in between.
    supervisor.ensure(
        "kube-apiserver",
        apiserver_command(programs / "kube-apiserver", addresses, certificates),
        inputs=sorted(certificates.glob("*.crt")),
    )
    probe = ReadinessProbe(addresses, certificates)
    supervisor.wait("kube-apiserver", probe.ready, _TIMEOUT_SECONDS)


class ReadinessProbe:
    """Checks whether an API server is ready."""

    def __init__(self, addresses: Addresses, certificates: Path) -> None:
        self._addresses = addresses
        self._certificates = certificates

    def ready(self) -> bool:
        """True when /readyz reports it; False also when the server does not respond."""
        context = ssl.create_default_context(cafile=str(self._certificates / "ca.crt"))
        context.load_cert_chain(self._certificates / "admin.crt", self._certificates / "admin.key")
        connection = http.client.HTTPSConnection(self._addresses.host, self._addresses.port, timeout=5, context=context)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def etcd_command(program: Path, addresses: Addresses, certificates: Path, data: Path) -> list[str]:
    """The arguments of etcd: one member, on loopback, for clients with a certificate of its own CA."""
    client = f"https://{_LOOPBACK}:{addresses.etcd_port}"
    # There are no peers, but etcd requires a peer address.
    peer = f"http://{_LOOPBACK}:{addresses.etcd_peer_port}"
    return [
        str(program),
        f"--data-dir={data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        f"--cert-file={certificates / 'etcd.crt'}",
        f"--key-file={certificates / 'etcd.key'}",
        "--client-cert-auth",
        f"--trusted-ca-file={certificates / 'etcd-ca.crt'}",
        # The API server's watch caches learn from these notifications that they are up to date.
        "--experimental-watch-progress-notify-interval=5s",
        "--logger=zap",
        "--log-level=warn",
    ]


def apiserver_command(program: Path, addresses: Addresses, certificates: Path) -> list[str]:
    """The arguments of kube-apiserver."""
    own = {name: certificates / name for name in ("apiserver", "apiserver-kubelet-client", "etcd-client")}
    return [
        str(program),
        f"--bind-address={addresses.host}",
        f"--advertise-address={addresses.host}",
        f"--secure-port={addresses.port}",
        f"--etcd-servers=https://{_LOOPBACK}:{addresses.etcd_port}",
        f"--etcd-cafile={certificates / 'etcd-ca.crt'}",
        f"--etcd-certfile={own['etcd-client']}.crt",
        f"--etcd-keyfile={own['etcd-client']}.key",
        f"--client-ca-file={certificates / 'ca.crt'}",
        f"--tls-cert-file={own['apiserver']}.crt",
        f"--tls-private-key-file={own['apiserver']}.key",
        f"--kubelet-certificate-authority={certificates / 'ca.crt'}",
        f"--kubelet-client-certificate={own['apiserver-kubelet-client']}.crt",
        f"--kubelet-client-key={own['apiserver-kubelet-client']}.key",
        # The node's name is not in DNS.
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={certificates / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={certificates / 'service-accounts.key'}",
        f"--service-cluster-ip-range={addresses.service_range}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--anonymous-auth=false",
        "--profiling=false",
    ]
