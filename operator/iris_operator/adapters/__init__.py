"""The world outside: the API server, Prometheus, the routers. Each implements a Protocol of `engine.ports`."""
