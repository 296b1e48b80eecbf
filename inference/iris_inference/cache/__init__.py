"""The cache of predictions: a tier in memory, and a tier in Redis."""
