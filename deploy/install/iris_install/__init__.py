"""Installs the system into a running cluster: Secrets once, the kustomize overlay, then waits. Needs no package."""
