"""The API server: reading releases, writing objects, telling people."""
