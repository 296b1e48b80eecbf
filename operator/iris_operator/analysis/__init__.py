"""The statistics: pure functions from request counts to evidence and verdicts.

One file per check under `checks/`, one registry. Nothing here knows a clock, a client or the cluster.
"""
