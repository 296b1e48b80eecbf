import json
import tomllib
from pathlib import Path

from iris_local import containers, network
from iris_local.paths import Paths

PATHS = Paths(Path("/cache"))

MOUNTINFO = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
40 22 0:40 / /cache/cluster/kubelet/pods/a/volumes/token rw - tmpfs tmpfs rw
41 22 0:41 / /cache/cluster/containerd/rootfs rw - overlay overlay rw
42 22 0:42 / /cache/with\\040blank rw - tmpfs tmpfs rw
43 22 0:43 / /cached rw - tmpfs tmpfs rw
"""


def test_mounts_below_a_folder_come_the_latest_first_with_their_real_names() -> None:
    assert containers.mounts_below(Path("/cache"), MOUNTINFO) == [
        Path("/cache/with blank"),
        Path("/cache/cluster/containerd/rootfs"),
        Path("/cache/cluster/kubelet/pods/a/volumes/token"),
    ]


def test_containerd_shares_no_folder_with_another_one_on_the_machine() -> None:
    config = tomllib.loads(containers.configuration(PATHS, "localhost/pause:1", Path("/usr/sbin/runc")))
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    runc = cri["containerd"]["runtimes"]["runc"]["options"]
    places = [
        config["root"],
        config["state"],
        config["grpc"]["address"],
        config["plugins"]["io.containerd.internal.v1.opt"]["path"],
        cri["cni"]["conf_dir"],
        runc["Root"],
    ]
    assert all(Path(place).is_relative_to(PATHS.root) for place in places)
    assert cri["sandbox_image"] == "localhost/pause:1"
    assert runc["SystemdCgroup"] is False


def test_containers_start_where_the_out_of_memory_score_may_not_be_lowered() -> None:
    config = tomllib.loads(containers.configuration(PATHS, "localhost/pause:1", Path("/usr/sbin/runc")))
    assert config["plugins"]["io.containerd.grpc.v1.cri"]["restrict_oom_score_adj"] is True


def test_pods_get_addresses_of_the_pod_range_and_a_default_route() -> None:
    configuration = json.loads(containers.pod_network(PATHS))
    (plugin,) = configuration["plugins"]
    assert configuration["name"] == PATHS.cluster_id
    assert plugin["ipam"]["ranges"] == [[{"subnet": network.POD_RANGE}]]
    assert plugin["ipam"]["routes"] == [{"dst": "0.0.0.0/0"}]
    assert Path(plugin["ipam"]["dataDir"]).is_relative_to(PATHS.cluster)


def test_only_sockets_in_the_shims_own_folder_are_ever_removed(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    tasks = paths.containerd_state / "io.containerd.runtime.v2.task" / "k8s.io"
    for name, address in (("a", "unix:///run/containerd/s/0123"), ("b", "unix:///etc/passwd")):
        (tasks / name).mkdir(parents=True)
        (tasks / name / "address").write_text(address)
    assert containers.shim_sockets(paths) == [Path("/run/containerd/s/0123")]
