import argparse
import os
import sys
from collections.abc import Sequence

from iris_install import certificate, credentials, grafana, overlay, rollout, undeploy
from iris_install.errors import InstallError
from iris_install.kubectl import LOCAL_CONTEXT, Kubectl, connect, find_kubectl
from iris_local import catalog
from iris_local.cluster import Cluster
from iris_local.errors import LocalClusterError
from iris_local.paths import Paths, cache_root
from iris_local.progress import Progress


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns 0, or 1 after printing what went wrong."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except InstallError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _deploy(options: argparse.Namespace) -> None:
    kubectl = connect()
    name = overlay.choose(kubectl.context or "", options.overlay)
    print(f"Installing overlay {name} into context {kubectl.context}.", flush=True)
    local = kubectl.context == LOCAL_CONTEXT
    rendered = overlay.render(kubectl, name, _operator_image(options, local=local))
    if local and not options.operator_image:
        _build_operator()
    _make_secrets(kubectl)
    if local:
        _make_certificate(kubectl)
    # Forced: manual changes to these objects are reverted, because the checkout is their source.
    applied = kubectl.run(
        "apply", "--server-side", "--field-manager=iris-install", "--force-conflicts", "--filename=-", stdin=rendered
    )
    changed = [line for line in applied.splitlines() if not line.endswith("unchanged")]
    print(f"Applied {len(changed)} objects; waiting for them to run.", flush=True)
    rollout.wait(kubectl, options.timeout, report=lambda line: print(line, flush=True), overlay=name)
    print("Installed. Next: kubectl apply a release, then kubectl get imr --watch", flush=True)


def _undeploy(options: argparse.Namespace) -> None:
    kubectl = connect()
    print(f"Removing the operator from context {kubectl.context}.", flush=True)
    undeploy.remove(
        kubectl,
        report=lambda line: print(line, flush=True),
        seconds=options.timeout,
        with_releases=options.with_releases,
    )


def _render(options: argparse.Namespace) -> None:
    # No cluster is contacted here, so that the manifests can be reviewed without one.
    kubectl = Kubectl(find_kubectl())
    name = overlay.choose("", options.overlay)
    print(overlay.render(kubectl, name, _operator_image(options, local=name == "local")), end="")


def _build_operator() -> None:
    try:
        Cluster(Paths(cache_root()), Progress()).load_images([catalog.operator_image()])
    except LocalClusterError as error:
        raise InstallError(str(error)) from error


def _secrets(_: argparse.Namespace) -> None:
    _make_secrets(connect())


def _make_secrets(kubectl: Kubectl) -> None:
    namespaces = overlay.ROOT / "deploy" / "base" / "namespaces.yaml"
    kubectl.run("apply", "--server-side", "--field-manager=iris-install", f"--filename={namespaces}")
    for name, outcome in credentials.ensure(kubectl).items():
        print(f"Secret {credentials.NAMESPACE}/{name}: {outcome}", flush=True)
    print(f"Secret {grafana.NAMESPACE}/{grafana.SECRET}: {grafana.ensure(kubectl)}", flush=True)


def _make_certificate(kubectl: Kubectl) -> None:
    secret = certificate.as_json(Paths(cache_root()).pki)
    kubectl.run(
        *("apply", "--server-side", "--field-manager=iris-install", "--force-conflicts", "--filename=-"), stdin=secret
    )
    print(f"Secret {credentials.NAMESPACE}/{certificate.SECRET}: signed by the local CA", flush=True)


def _operator_image(options: argparse.Namespace, *, local: bool) -> str:
    if options.operator_image:
        chosen: str = options.operator_image
        return chosen
    if local:
        return catalog.operator_image().name
    raise InstallError(
        "No operator image is given. Build Dockerfile.operator, push it to your registry, "
        "and set OPERATOR_IMAGE, as in registry.example.com/iris-operator:1.2.3."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="iris_install", description="Installs the release operator and what it needs into a cluster."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--overlay", help="local or production; by default chosen by the current context")
    shared.add_argument(
        "--operator-image",
        default=os.environ.get("OPERATOR_IMAGE"),
        help="default: $OPERATOR_IMAGE; on the local cluster, the one built from this checkout",
    )

    deploy = commands.add_parser(
        "deploy", parents=[shared], help="install into the current kube-context and wait until it runs"
    )
    deploy.add_argument("--timeout", type=int, default=300, metavar="SECONDS", help="how long to wait (default: 300)")
    deploy.set_defaults(run=_deploy)
    render = commands.add_parser("render", parents=[shared], help="print what would be applied; needs no cluster")
    render.set_defaults(run=_render)
    removal = commands.add_parser(
        "undeploy", help="remove the operator and its rights from the current kube-context; what serves keeps serving"
    )
    removal.add_argument(
        "--with-releases", action="store_true", help="delete the releases first, all that serves them, and the CRD"
    )
    removal.add_argument("--timeout", type=int, default=120, metavar="SECONDS", help="for each deletion (default: 120)")
    removal.set_defaults(run=_undeploy)
    secrets = commands.add_parser("secrets", help="create missing Secrets without changing existing ones")
    secrets.set_defaults(run=_secrets)
    return parser
