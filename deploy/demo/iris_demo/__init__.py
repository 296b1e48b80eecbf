"""The demo: releases of the Iris model under constant traffic, watched live and judged.

Run it with ``python -m iris_demo --help``. The logic that deserves unit tests is pure: ``samples``,
``counts``, ``observations``, ``timeline`` and ``judge`` use no network and no clock; ``load``,
``traffic``, ``kube`` and ``watch`` do the I/O; ``runner`` combines the two.
"""
