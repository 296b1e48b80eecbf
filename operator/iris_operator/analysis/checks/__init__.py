"""One check a file. To add one: a file here, a line in `analysis.registry`, a field in `api.spec.Checks`."""
