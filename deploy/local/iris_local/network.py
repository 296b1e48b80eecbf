"""The node's address, the pods' routes and the kernel settings; sets them up and removes them again."""

import contextlib
import ipaddress
import json
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

from iris_local import packages
from iris_local.commands import run, succeeds
from iris_local.errors import LocalClusterError

# An address of its own: nothing of the cluster listens on an address that other machines can reach, and the node's
# address stays the same when the machine changes networks or has none.
INTERFACE = "iris0"
NODE_ADDRESS = "10.213.255.1"
POD_RANGE = "10.213.0.0/20"
SERVICE_RANGE = "10.213.128.0/20"
API_SERVICE = "10.213.128.1"
DNS_SERVICE = "10.213.128.10"
_CLUSTER_RANGE = "10.213.0.0/16"
_CHAIN = "IRIS-LOCAL"
_SYSCTLS = Path("/proc/sys")
# The kernel settings that the cluster's processes change, to be restored at the end.
_CHANGED_SETTINGS = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
_CHAIN_PREFIXES = ("KUBE-", _CHAIN)


def require_unused() -> None:
    """Rejects a machine on which the cluster would conflict with something else.

    Raises:
        LocalClusterError: another Kubernetes node runs in this network namespace, or the addresses are in use.
    """
    if succeeds([packages.find("ip"), "link", "show", INTERFACE]):
        root = owner()
        raise LocalClusterError(
            f"There is an interface {INTERFACE}: a local cluster with another cache root is up. "
            + (f"Stop that one with `make cluster-down IRIS_CACHE={root}`." if root else "Stop that one; ")
            + ("" if root else f"if it no longer exists, run `ip link delete {INTERFACE}`.")
        )
    for family in ("iptables", "ip6tables"):
        if "KUBE-SERVICES" in _saved_rules(family):
            raise LocalClusterError(
                "Another Kubernetes node runs on this machine (there is a KUBE-SERVICES chain): the two would "
                "overwrite each other's rules."
            )
    taken = overlapping(_CLUSTER_RANGE, (route.get("dst", "") for route in _routes() if route.get("dev") != INTERFACE))
    if taken:
        raise LocalClusterError(f"The local cluster uses {_CLUSTER_RANGE}, but this machine has a route to {taken[0]}.")


def overlapping(wanted: str, destinations: Iterable[str]) -> list[str]:
    """The destinations, except the default route, that overlap with a range."""
    network = ipaddress.ip_network(wanted)
    return [
        destination
        for destination in destinations
        if destination and destination != "default" and network.overlaps(ipaddress.ip_network(destination))
    ]


def owner() -> Path | None:
    """The cache root of the cluster whose network is set up here; None when there is none or it does not say."""
    shown = run([packages.find("ip"), "-json", "link"])
    alias = next((link.get("ifalias", "") for link in json.loads(shown or "[]") if link.get("ifname") == INTERFACE), "")
    return Path(alias) if alias else None


def up(saved_settings: Path, root: Path) -> None:
    """Sets the network up for the cluster of a cache root.

    The kernel's original settings are saved in the file `saved_settings`, once.
    """
    if not saved_settings.exists():
        before = {name: (_SYSCTLS / name).read_text() for name in _CHANGED_SETTINGS if (_SYSCTLS / name).exists()}
        saved_settings.parent.mkdir(parents=True, exist_ok=True)
        temporary = saved_settings.with_name(saved_settings.name + ".draft")
        temporary.write_text(json.dumps(before))
        temporary.rename(saved_settings)
    (_SYSCTLS / "net/ipv4/ip_forward").write_text("1")
    _interface_up(root)
    _chain_up("filter", "FORWARD", [["-s", POD_RANGE, "-j", "ACCEPT"], ["-d", POD_RANGE, "-j", "ACCEPT"]])
    outside = ["-s", POD_RANGE, "!", "-d", _CLUSTER_RANGE, "-j", "MASQUERADE"]
    _chain_up("nat", "POSTROUTING", [outside])


def down(saved_settings: Path) -> None:
    """Reverts what `up` and the cluster's processes did. Does nothing when it was never up.

    Raises:
        LocalClusterError: something could not be removed.
    """
    if not saved_settings.exists():
        return
    remove()
    for name, value in json.loads(saved_settings.read_text()).items():
        # A setting that cannot be written now could not be changed before either.
        with contextlib.suppress(OSError):
            (_SYSCTLS / name).write_text(value)
    if left := leftovers():
        raise LocalClusterError("These are left of the cluster's network: " + ", ".join(left))
    saved_settings.unlink()


def remove() -> None:
    """Removes rules and interfaces. For a cluster whose folder was deleted, with the kernel's settings in it."""
    for family in ("iptables", "ip6tables"):
        _remove_chains(family)
    ip = packages.find("ip")
    if succeeds([ip, "link", "show", INTERFACE]):
        run([ip, "link", "delete", INTERFACE])
    for device in pod_devices(_routes()):
        # Its pod may end and remove it meanwhile.
        succeeds([ip, "link", "delete", device])


def leftovers() -> list[str]:
    """Descriptions of what remains of the network."""
    found = [f"interface {INTERFACE}"] if succeeds([packages.find("ip"), "link", "show", INTERFACE]) else []
    for family in ("iptables", "ip6tables"):
        found += [f"{family} chain {chain}" for chains in chains_of(_saved_rules(family)).values() for chain in chains]
    return found


def pod_devices(routes: Iterable[Mapping[str, str]]) -> list[str]:
    """The node's ends of the pods' veth pairs: left behind by a pod that was killed while it started."""
    return [
        route["dev"]
        for route in routes
        if route.get("dev", "").startswith("veth") and overlapping(POD_RANGE, [route.get("dst", "")])
    ]


def _routes() -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(run([packages.find("ip"), "-json", "-4", "route"]) or "[]")
    return found


def chains_of(saved: str) -> Mapping[str, list[str]]:
    """Our chains in the output of iptables-save, by table."""
    found: dict[str, list[str]] = {}
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":") and line[1:].startswith(_CHAIN_PREFIXES):
            found.setdefault(table, []).append(line[1:].split()[0])
    return found


def removal_script(saved: str) -> str:
    """Input for `iptables-restore --noflush` that removes our chains, and the rules of other chains that jump to them.

    Everything else is unchanged. Empty when there are none of our chains.
    """
    script: list[str] = []
    for table, chains in chains_of(saved).items():
        script.append(f"*{table}")
        script += [f":{chain} - [0:0]" for chain in chains]  # declaring a chain again empties it
        script += [f"-D{rule[2:]}" for rule in _jumps(saved, table, set(chains))]
        script += [f"-X {chain}" for chain in chains]
        script.append("COMMIT")
    return "\n".join(script) + "\n" if script else ""


def _jumps(saved: str, wanted_table: str, chains: set[str]) -> Iterable[str]:
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif table == wanted_table and line.startswith("-A "):
            words = line.split()
            jumps_to_ours = any(flag in ("-j", "-g") and target in chains for flag, target in pairwise(words))
            if words[1] not in chains and jumps_to_ours:
                yield line


def _interface_up(root: Path) -> None:
    ip = packages.find("ip")
    if not succeeds([ip, "link", "show", INTERFACE]):
        # A bridge without ports: unlike dummy devices, every kernel that runs containers has them.
        run([ip, "link", "add", INTERFACE, "type", "bridge"])
    run([ip, "address", "replace", f"{NODE_ADDRESS}/32", "dev", INTERFACE])
    # Says whose it is to a cluster with another root; the kernel refuses aliases of 256 bytes and more.
    succeeds([ip, "link", "set", INTERFACE, "alias", str(root)])
    run([ip, "link", "set", INTERFACE, "up"])


def _chain_up(table: str, parent: str, rules: list[list[str]]) -> None:
    tool: list[str | Path] = [packages.find("iptables"), "--wait", "--table", table]
    if not succeeds([*tool, "--list", _CHAIN]):
        run([*tool, "--new-chain", _CHAIN])
    run([*tool, "--flush", _CHAIN])
    for rule in rules:
        run([*tool, "--append", _CHAIN, *rule])
    if not succeeds([*tool, "--check", parent, "-j", _CHAIN]):
        run([*tool, "--insert", parent, "-j", _CHAIN])


def _remove_chains(family: str) -> None:
    script = removal_script(_saved_rules(family))
    if script:
        run([packages.find(f"{family}-restore"), "--wait", "--noflush"], stdin=script)


def _saved_rules(family: str) -> str:
    return run([packages.find(f"{family}-save")])
