"""In a network namespace that the test makes: the machine's own rules and interfaces are never touched."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from iris_local.paths import LOCAL

Run = Callable[[str], str]
UP = "network.up(Path('before.json'), Path('/a/cache'))"
DOWN = "network.down(Path('before.json'))"


@pytest.fixture
def namespace(tmp_path: Path) -> Run:
    """Runs shell commands in one namespace; `py` there runs Python code that has `network` and `Path`."""
    python = tmp_path / "py"
    python.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "from pathlib import Path; from iris_local import network; $1"\n'
    )
    python.chmod(0o755)
    unshare = shutil.which("unshare", path=f"{os.environ['PATH']}:/usr/bin") or "unshare"

    def run(script: str) -> str:
        done = subprocess.run(
            [unshare, "--net", "sh", "-euc", f"ip link set lo up; {script}"],
            cwd=tmp_path,
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}:/usr/sbin:/sbin", "PYTHONPATH": str(LOCAL)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_what_was_set_up_is_removed_and_everything_else_stays(namespace: Run) -> None:
    tables = "for tool in iptables-save ip6tables-save; do $tool | sed '/^#/d'; done"
    state = f"{{ {tables}; ip -brief link; cat /proc/sys/net/ipv4/ip_forward; }}"
    namespace(
        "iptables -N OTHERS; iptables -A FORWARD -j OTHERS; iptables -t nat -A POSTROUTING -j MASQUERADE;"
        "iptables -t mangle -L >/dev/null; ip6tables -L >/dev/null;"
        f'{state} > before; py "{UP}"; {state} > between; py "{DOWN}"; {state} > after;'
        "! diff -q before between >/dev/null; diff before after"
    )


def test_rules_of_kube_proxy_are_removed_too(namespace: Run) -> None:
    left = namespace(
        f'py "{UP}"; iptables -t nat -N KUBE-SERVICES; iptables -t nat -N KUBE-SVC-A;'
        "iptables -t nat -A KUBE-SERVICES -d 10.213.128.1/32 -j KUBE-SVC-A;"
        "iptables -t nat -A OUTPUT -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES;"
        f'ip6tables -N KUBE-FIREWALL; py "{DOWN}"; py "print(network.leftovers())"'
    )
    assert left == "[]\n"


def test_setting_up_is_idempotent(namespace: Run) -> None:
    rules = "iptables-save | grep -v '^#'"
    namespace(f'py "{UP}"; {rules} > once; py "{UP}"; {rules} > twice; diff once twice')


def test_a_machine_that_runs_another_node_is_rejected(namespace: Run) -> None:
    script = 'iptables -t nat -N KUBE-SERVICES; py "network.require_unused()" 2>&1 || true'
    assert "Another Kubernetes node runs on this machine" in namespace(script)


def test_a_machine_whose_routes_overlap_is_rejected(namespace: Run) -> None:
    script = 'ip route add 10.213.7.0/24 dev lo; py "network.require_unused()" 2>&1 || true'
    assert "this machine has a route to 10.213.7.0/24" in namespace(script)


def test_a_free_machine_is_accepted(namespace: Run) -> None:
    assert namespace("py \"network.require_unused(); print('free')\"") == "free\n"


OTHER = "Path('other').absolute()"
OTHER_UP = f"from iris_local import node; network.up({OTHER} / 'cluster' / node.SAVED_SETTINGS, {OTHER})"
SLEEPER = f"from iris_local.processes import Supervisor; sleepers = Supervisor({OTHER}, Path('logs'))"
REMOVE_DEAD = (
    "from iris_local import cluster, paths, progress;"
    "cluster.Cluster(paths.Paths(Path('mine').absolute()), progress.Progress())._remove_dead_cluster();"
    "print(network.leftovers())"
)


@pytest.mark.parametrize("folder", ["other", "gone"])
def test_what_a_killed_cluster_with_another_cache_root_left_is_removed(namespace: Run, folder: str) -> None:
    printed = namespace(f'py "{OTHER_UP}"; test {folder} = other || rm -r other; py "{REMOVE_DEAD}"')
    assert printed.splitlines()[-1] == "[]"


def test_a_running_cluster_with_another_cache_root_is_left_alone_and_named(namespace: Run) -> None:
    printed = namespace(
        f"py \"{OTHER_UP}; {SLEEPER}; sleepers.ensure('sleep', ['sleep', '60'])\";"
        f'py "{REMOVE_DEAD}"; py "network.require_unused()" 2>&1 || true;'
        f'py "{SLEEPER}; sleepers.stop(sleepers.all())"'
    )
    assert "interface iris0" in printed
    assert "make cluster-down IRIS_CACHE=/" in printed.splitlines()[-1]
