"""Where the local cluster's services answer, on this machine only."""

from __future__ import annotations

PROMETHEUS_URL = "http://127.0.0.1:30090"
ALERTMANAGER_URL = "http://127.0.0.1:30093"
LOGS_URL = "http://127.0.0.1:30428"
# What a person opens, by what it is.
PAGES = {"metrics": PROMETHEUS_URL, "alerts": ALERTMANAGER_URL, "logs": f"{LOGS_URL}/select/vmui"}
