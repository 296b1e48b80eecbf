"""The node's address, the pods' way out and the kernel settings; and how all of it is taken back."""

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
_WHOLE_RANGE = "10.213.0.0/16"
_CHAIN = "IRIS-LOCAL"
_SYSCTLS = Path("/proc/sys")
# What the cluster's processes change in the kernel, to be put back at the end.
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
_OUR_CHAINS = ("KUBE-", _CHAIN)


def check_free() -> None:
    """Refuses a machine on which the cluster would get in somebody's way.

    Raises:
        LocalClusterError: another Kubernetes node runs in this network namespace, or the addresses are in use.
    """
    if succeeds([packages.find("ip"), "link", "show", INTERFACE]):
        raise LocalClusterError(
            f"There is an interface {INTERFACE}: a local cluster with another cache root is up. Take that one down; "
            f"if it is gone, `ip link delete {INTERFACE}`."
        )
    for family in ("iptables", "ip6tables"):
        if "KUBE-SERVICES" in _tables(family):
            raise LocalClusterError(
                "Another Kubernetes node runs on this machine (its KUBE-SERVICES chain is there): the two would "
                "overwrite each other's rules."
            )
    taken = overlapping(_WHOLE_RANGE, (route.get("dst", "") for route in _routes() if route.get("dev") != INTERFACE))
    if taken:
        raise LocalClusterError(f"The local cluster uses {_WHOLE_RANGE}, but this machine has a route to {taken[0]}.")


def overlapping(wanted: str, destinations: Iterable[str]) -> list[str]:
    """The destinations, the default route excepted, that share addresses with a range."""
    network = ipaddress.ip_network(wanted)
    return [
        destination
        for destination in destinations
        if destination and destination != "default" and network.overlaps(ipaddress.ip_network(destination))
    ]


def up(notes: Path) -> None:
    """Sets the network up. What the kernel's settings were goes into the file `notes`, once."""
    if not notes.exists():
        before = {name: (_SYSCTLS / name).read_text() for name in _CHANGED_SETTINGS if (_SYSCTLS / name).exists()}
        notes.parent.mkdir(parents=True, exist_ok=True)
        draft = notes.with_name(notes.name + ".draft")
        draft.write_text(json.dumps(before))
        draft.rename(notes)
    (_SYSCTLS / "net/ipv4/ip_forward").write_text("1")
    _interface_up()
    _chain_up("filter", "FORWARD", [["-s", POD_RANGE, "-j", "ACCEPT"], ["-d", POD_RANGE, "-j", "ACCEPT"]])
    outside = ["-s", POD_RANGE, "!", "-d", _WHOLE_RANGE, "-j", "MASQUERADE"]
    _chain_up("nat", "POSTROUTING", [outside])


def down(notes: Path) -> None:
    """Takes back what `up` and the cluster's processes did. Nothing happens when it was never up.

    Raises:
        LocalClusterError: something of it is still there.
    """
    if not notes.exists():
        return
    for family in ("iptables", "ip6tables"):
        _remove_chains(family)
    ip = packages.find("ip")
    if succeeds([ip, "link", "show", INTERFACE]):
        run([ip, "link", "delete", INTERFACE])
    for device in pod_devices(_routes()):
        # Its pod may end, and take it along, between the look and the call.
        succeeds([ip, "link", "delete", device])
    for name, value in json.loads(notes.read_text()).items():
        # A setting that cannot be written now could not be changed before either.
        with contextlib.suppress(OSError):
            (_SYSCTLS / name).write_text(value)
    if left := remains():
        raise LocalClusterError("These are left of the cluster's network: " + ", ".join(left))
    notes.unlink()


def remains() -> list[str]:
    """What of the network is still there, in words."""
    found = [f"interface {INTERFACE}"] if succeeds([packages.find("ip"), "link", "show", INTERFACE]) else []
    for family in ("iptables", "ip6tables"):
        found += [f"{family} chain {chain}" for chains in chains_of(_tables(family)).values() for chain in chains]
    return found


def pod_devices(routes: Iterable[Mapping[str, str]]) -> list[str]:
    """This end of the pods' cables: what a pod that was ended in the middle of its start leaves behind."""
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
        elif line.startswith(":") and line[1:].startswith(_OUR_CHAINS):
            found.setdefault(table, []).append(line[1:].split()[0])
    return found


def removal_script(saved: str) -> str:
    """Input for `iptables-restore --noflush` that removes our chains, and the rules of others' chains that lead there.

    Everything else stays as it is. Empty when there is nothing of ours.
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
            leads_to_us = any(flag in ("-j", "-g") and target in chains for flag, target in pairwise(words))
            if words[1] not in chains and leads_to_us:
                yield line


def _interface_up() -> None:
    ip = packages.find("ip")
    if not succeeds([ip, "link", "show", INTERFACE]):
        # A bridge without ports: unlike dummy devices, every kernel that runs containers has them.
        run([ip, "link", "add", INTERFACE, "type", "bridge"])
    run([ip, "address", "replace", f"{NODE_ADDRESS}/32", "dev", INTERFACE])
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
    script = removal_script(_tables(family))
    if script:
        run([packages.find(f"{family}-restore"), "--wait", "--noflush"], stdin=script)


def _tables(family: str) -> str:
    return run([packages.find(f"{family}-save")])
