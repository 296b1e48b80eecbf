"""The Secret of Grafana's administrator, created once like those of the stores."""

import secrets

from iris_install.credentials import SecretStore

NAMESPACE = "iris-system"
SECRET = "grafana-admin"  # noqa: S105 - its name
_PASSWORD_BYTES = 24


def ensure(cluster: SecretStore) -> str:
    """Creates the Secret unless it exists. Returns "created" or "kept", and never a value."""
    if cluster.get_or_none("secret", SECRET, NAMESPACE) is not None:
        return "kept"
    cluster.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": SECRET,
                "namespace": NAMESPACE,
                "labels": {"app.kubernetes.io/part-of": "iris-release"},
            },
            "type": "Opaque",
            "stringData": {"user": "admin", "password": secrets.token_urlsafe(_PASSWORD_BYTES)},
        }
    )
    return "created"
