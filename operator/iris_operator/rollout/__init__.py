"""The decision: `decide(observation, now) -> Decision`. Pure and total; every branch gives a reason.

`status.rollout.stage` is the state that survives a restart. Each stage has a file; all of them read the world as it
is seen, compare it with what the status intends, and ask for the next idempotent actions.
"""
