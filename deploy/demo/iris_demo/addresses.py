"""Where the local cluster's services answer, on this machine only."""

LOGS_URL = "http://127.0.0.1:30428"
LOGS_PAGE = f"{LOGS_URL}/select/vmui"
