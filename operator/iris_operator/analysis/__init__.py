"""The statistics: pure functions from request counts to evidence and verdicts.

One file per check under `checks/`, all of them in `registry`. Nothing here uses a clock, a client or the cluster.
"""
