"""Installs the system into a running cluster: Secrets once, the kustomize overlay, then waits. Standard library only."""
