"""Counts from Prometheus: raw counters per pod, summed up here, one set of queries for the whole fleet."""
