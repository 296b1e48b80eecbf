"""Shadow traffic: copies of answered requests go to the revision that is tried, whose answers nobody gets.

plan.py says whether, how many and where to; mirror.py sends them through link.py, and compares the answers; door.py is
where they come in, on the other side, with the tickets of ticket.py.
"""
