"""The Prometheus metrics of a pod."""
