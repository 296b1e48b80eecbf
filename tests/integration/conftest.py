from support.servers.fixtures import (
    kube_apiserver,
    postgres_server,
    postgres_url,
    redis_server,
    redis_url,
    start_prometheus,
)

__all__ = ["kube_apiserver", "postgres_server", "postgres_url", "redis_server", "redis_url", "start_prometheus"]
