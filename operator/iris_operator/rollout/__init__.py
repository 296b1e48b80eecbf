"""The decision: `decide(observation, now) -> Decision`. Pure and total; every branch gives a reason.

`status.rollout.stage` is the state that survives a restart. Each stage has a file; all of them compare the
observed state with what the status intends, and return the next idempotent actions.
"""
