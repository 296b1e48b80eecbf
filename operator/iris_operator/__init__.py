"""The control plane that releases machine-learning models with evidence."""

__version__ = "0.1.0"
