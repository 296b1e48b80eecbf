"""One reconcile of one release: observe, decide, execute. Knows its Protocols (`ports`), not their implementations."""
