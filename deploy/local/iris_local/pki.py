"""The cluster's own certificate authorities and what they sign, made with openssl at every fresh start."""

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
    """A certificate: who it names, which authority signs it, and for which addresses a server may show it."""

    name: str
    subject: str
    authority: str = "ca"
    addresses: tuple[str, ...] = ()


def identities(server_addresses: Sequence[str], node: str, node_address: str) -> list[Identity]:
    """Everybody who takes part. Groups (O) decide on rights: they are those that Kubernetes defines."""
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
        # What the Ingress controller shows to users; `ingress-ca.crt` is what they may trust.
        Identity("ingress", "/CN=*.example.com", "ingress-ca", ("DNS:*.example.com", "DNS:example.com")),
        # An authority of its own: the API server takes whom `ca` signed for a client, and the registry is none.
        Identity("registry", "/CN=registry", "registry-ca", ("IP:127.0.0.1", "DNS:registry.registry.svc")),
    ]


def ensure(folder: Path, wanted: Sequence[Identity]) -> None:
    """Writes authorities, certificates and the key pair that signs service account tokens, unless they are there.

    Files are `<name>.crt` and `<name>.key`, and `service-accounts.key` with `service-accounts.pub`; only their owner
    may read the folder. A cluster that was started before somebody took part is given what that one lacks.
    """
    if folder.exists():
        _complete(folder, wanted)
        return
    draft = folder.with_name(folder.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True, mode=0o700)
    _complete(draft, wanted)
    key = draft / "service-accounts.key"
    _openssl(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key])
    _openssl(["pkey", "-in", key, "-pubout", "-out", draft / "service-accounts.pub"])
    draft.rename(folder)


def _complete(folder: Path, wanted: Sequence[Identity]) -> None:
    for authority in sorted({identity.authority for identity in wanted}):
        if not (folder / f"{authority}.crt").exists():
            _authority(folder, authority)
    for identity in wanted:
        if not (folder / f"{identity.name}.crt").exists():
            _sign(folder, identity)


def _authority(folder: Path, name: str) -> None:
    _openssl(
        ["req", "-x509", *_NEW_KEY, "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt", "-days", _DAYS],
        ["-subj", f"/CN=iris-local-{name}", "-addext", "keyUsage=critical,digitalSignature,keyCertSign"],
    )


def _sign(folder: Path, identity: Identity) -> None:
    key, certificate = folder / f"{identity.name}.key", folder / f"{identity.name}.crt"
    request, extensions = folder / f"{identity.name}.csr", folder / f"{identity.name}.ext"
    signer = folder / identity.authority
    extensions.write_text(extension_file(identity))
    _openssl(["req", "-new", *_NEW_KEY, "-keyout", key, "-out", request, "-subj", identity.subject])
    _openssl(
        ["x509", "-req", "-in", request, "-CA", f"{signer}.crt", "-CAkey", f"{signer}.key", "-CAcreateserial"],
        ["-out", certificate, "-days", _DAYS, "-extfile", extensions],
    )
    request.unlink()
    extensions.unlink()


def _openssl(*arguments: Command) -> None:
    run([packages.find("openssl"), *chain.from_iterable(arguments)])


def extension_file(identity: Identity) -> str:
    """What openssl shall put into the certificate beside the subject."""
    lines = [
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,digitalSignature,keyEncipherment",
        # etcd's gateway calls etcd itself with the server's certificate.
        f"extendedKeyUsage={'serverAuth,clientAuth' if identity.addresses else 'clientAuth'}",
    ]
    if identity.addresses:
        lines.append(f"subjectAltName={','.join(identity.addresses)}")
    return "\n".join(lines) + "\n"
