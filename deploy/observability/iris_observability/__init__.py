"""What is generated for monitoring: dashboards for Grafana, and the rules in the other forms in which they are needed.

Run it with ``python -m iris_observability``; the files that it writes are kept, so that installing needs no Python.
"""
