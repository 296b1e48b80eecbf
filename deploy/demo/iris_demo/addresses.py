"""Where the local cluster's services answer, on this machine only."""

from __future__ import annotations

LOGS_URL = "http://127.0.0.1:30428"
# What a person opens, by what it is.
PAGES = {"logs": f"{LOGS_URL}/select/vmui"}
