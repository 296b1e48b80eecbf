"""URLs of the local cluster's services, on this machine only."""

from __future__ import annotations

PREDICT_URL = "https://127.0.0.1:30443/v1/predict"
PROMETHEUS_URL = "http://127.0.0.1:30090"
ALERTMANAGER_URL = "http://127.0.0.1:30093"
LOGS_URL = "http://127.0.0.1:30428"
# Pages to open in a browser, by subject.
PAGES = {"metrics": PROMETHEUS_URL, "alerts": ALERTMANAGER_URL, "logs": f"{LOGS_URL}/select/vmui"}
