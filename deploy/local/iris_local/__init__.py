"""A real Kubernetes on one machine, without a container engine or a registry. Standard library only."""
