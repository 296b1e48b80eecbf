"""The `IrisModelRelease` resource: names, spec, status, and the CRD generated from them.

Imports nothing else of this package, so that every other room may import it.
"""
