from collections.abc import Mapping
from typing import Any

from iris_install import grafana


class Cluster:
    def __init__(self) -> None:
        self.created: list[Mapping[str, Any]] = []

    def get_or_none(self, kind: str, name: str, namespace: str) -> dict[str, Any] | None:
        assert (kind, name, namespace) == ("secret", "grafana-admin", "iris-system")
        return dict(self.created[0]) if self.created else None

    def create(self, manifest: Mapping[str, Any]) -> None:
        self.created.append(manifest)


def test_the_administrator_of_grafana_gets_a_password_once_and_a_different_one_elsewhere() -> None:
    one, other = Cluster(), Cluster()
    assert [grafana.ensure(one), grafana.ensure(one), grafana.ensure(other)] == ["created", "kept", "created"]
    passwords = [cluster.created[0]["stringData"]["password"] for cluster in (one, other)]
    assert len(one.created) == 1
    assert passwords[0] != passwords[1]
    assert min(map(len, passwords)) >= 30
