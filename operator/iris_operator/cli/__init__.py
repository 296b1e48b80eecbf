"""The command line tool `iris-analysis`."""
