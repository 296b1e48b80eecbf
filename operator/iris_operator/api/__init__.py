"""The `IrisModelRelease` resource: names, spec, status, and the CRD generated from them.

Imports nothing else of `iris_operator`, so that every other package may import it.
"""
