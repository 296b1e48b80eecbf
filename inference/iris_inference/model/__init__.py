"""The model: its artifact, its signature, and its runtime."""
