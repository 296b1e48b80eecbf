"""Generates files for monitoring: dashboards for Grafana, and the alerting rules in other formats.

Run it with ``python -m iris_observability``; the generated files are committed, so that installing needs no Python.
"""
