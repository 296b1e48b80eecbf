"""The cluster's certificate authorities and certificates, created with openssl at every fresh start."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from iris_local import packages
from iris_local.commands import Command, run

_DAYS = "365"
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Identity:
    """A certificate: its subject, the CA that signs it, and the addresses of a server certificate."""

    name: str
    subject: str
    authority: str = "ca"
    addresses: tuple[str, ...] = ()


def identities(server_addresses: Sequence[str], node: str, node_address: str) -> list[Identity]:
    """All identities of the cluster. Groups (O) determine permissions: they are those that Kubernetes defines."""
    return [
        Identity("etcd", "/CN=etcd", "etcd-ca", ("IP:127.0.0.1",)),
        Identity("etcd-client", "/CN=kube-apiserver", "etcd-ca"),
        Identity("apiserver", "/CN=kube-apiserver", addresses=tuple(server_addresses)),
        Identity("apiserver-kubelet-client", "/O=system:masters/CN=kube-apiserver"),
        Identity("admin", "/O=system:masters/CN=iris-local-admin"),
        Identity("controller-manager", "/CN=system:kube-controller-manager"),
        Identity("scheduler", "/CN=system:kube-scheduler"),
        Identity("proxy", "/CN=system:kube-proxy"),
        Identity("kubelet", f"/O=system:nodes/CN=system:node:{node}"),
        Identity("kubelet-server", f"/CN={node}", addresses=(f"DNS:{node}", f"IP:{node_address}")),
        # The Ingress controller's certificate; clients trust `ingress-ca.crt`.
        Identity("ingress", "/CN=*.example.com", "ingress-ca", ("DNS:*.example.com", "DNS:example.com")),
        # A CA of its own: the API server accepts every certificate of `ca` as a client, and the registry is not one.
        Identity("registry", "/CN=registry", "registry-ca", ("IP:127.0.0.1", "DNS:registry.registry.svc")),
    ]


def ensure(folder: Path, required: Sequence[Identity]) -> None:
    """Creates CAs, certificates and the key pair that signs service account tokens, unless they exist.

    Files are `<name>.crt` and `<name>.key`, and `service-accounts.key` with `service-accounts.pub`; only their owner
    may read the folder. Identities that were added later are created in an existing folder.
    """
    if folder.exists():
        _create_missing(folder, required)
        return
    temporary = folder.with_name(folder.name + ".draft")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True, mode=0o700)
    _create_missing(temporary, required)
    key = temporary / "service-accounts.key"
    _openssl(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key])
    _openssl(["pkey", "-in", key, "-pubout", "-out", temporary / "service-accounts.pub"])
    temporary.rename(folder)


def _create_missing(folder: Path, required: Sequence[Identity]) -> None:
    for authority in sorted({identity.authority for identity in required}):
        if not (folder / f"{authority}.crt").exists():
            _create_ca(folder, authority)
    for identity in required:
        if not (folder / f"{identity.name}.crt").exists():
            _sign(folder, identity)


def _create_ca(folder: Path, name: str) -> None:
    _openssl(
        ["req", "-x509", *_NEW_KEY, "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt", "-days", _DAYS],
        ["-subj", f"/CN=iris-local-{name}", "-addext", "keyUsage=critical,digitalSignature,keyCertSign"],
    )


def _sign(folder: Path, identity: Identity) -> None:
    key, certificate = folder / f"{identity.name}.key", folder / f"{identity.name}.crt"
    request, extensions = folder / f"{identity.name}.csr", folder / f"{identity.name}.ext"
    signer = folder / identity.authority
    extensions.write_text(extension_config(identity))
    _openssl(["req", "-new", *_NEW_KEY, "-keyout", key, "-out", request, "-subj", identity.subject])
    _openssl(
        ["x509", "-req", "-in", request, "-CA", f"{signer}.crt", "-CAkey", f"{signer}.key", "-CAcreateserial"],
        ["-out", certificate, "-days", _DAYS, "-extfile", extensions],
    )
    request.unlink()
    extensions.unlink()


def _openssl(*arguments: Command) -> None:
    run([packages.find("openssl"), *chain.from_iterable(arguments)])


def extension_config(identity: Identity) -> str:
    """The openssl configuration of the certificate's extensions."""
    lines = [
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,digitalSignature,keyEncipherment",
        # etcd's gateway connects to etcd with the server's certificate.
        f"extendedKeyUsage={'serverAuth,clientAuth' if identity.addresses else 'clientAuth'}",
    ]
    if identity.addresses:
        lines.append(f"subjectAltName={','.join(identity.addresses)}")
    return "\n".join(lines) + "\n"
