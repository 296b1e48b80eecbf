"""One file for each router, one registry. The value in `spec.traffic.router` names the router; there is no fallback."""
