"""Where the local cluster's Prometheus and Alertmanager answer, on this machine only."""

PROMETHEUS_URL = "http://127.0.0.1:30090"
ALERTMANAGER_URL = "http://127.0.0.1:30093"
