"""The demo: releases of the Iris model under constant traffic, watched live and judged.

Run it with ``python -m iris_demo --help``. The package is split so that everything that can be
wrong in an interesting way is pure: ``samples``, ``counts``, ``observations``, ``timeline`` and
``judge`` know no network and no clock; ``load``, ``traffic``, ``kube`` and ``watch`` do the I/O;
``story`` joins the two.
"""
