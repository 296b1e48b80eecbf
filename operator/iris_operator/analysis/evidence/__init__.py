"""Evidence from counts, as logarithms of e-values: one formula a function, its source in the docstring.

An e-value is the wealth of a bet against a hypothesis: while that holds, its expectation is at most 1 at any stopping
time, so that the chance of it ever reaching 1/alpha is at most alpha (Ville's inequality). Everything is an array: the
first axis runs over releases, so that a fleet costs little more than one.
"""
