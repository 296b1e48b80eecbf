"""One router a file, one registry. The value in `spec.traffic.router` names the router; there is no fallback."""
