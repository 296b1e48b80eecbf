"""All traffic back to stable, without a verdict: the rollout starts again before its first step.

The evidence so far is kept: what speaks against the canary is not forgotten.
"""

from __future__ import annotations

from typing import Any

from iris_operator.api.status import Stage, StepStatus
from iris_operator.rollout.builder import DecisionBuilder, enter_stage
from iris_operator.rollout.rolling_back import withdraw_traffic


def retreat(builder: DecisionBuilder, **fields: Any) -> None:
    """Withdraw the canary's traffic before anything else; `fields` of the durable state change, too."""
    builder.actions.clear()
    if builder.status.rollout.stage is not Stage.PROGRESSING:
        enter_stage(builder, Stage.PROGRESSING)
    builder.update_status(step=StepStatus(index=0, count=builder.status.step.count))
    builder.update_rollout(
        step_started_at=None,
        confirmed_weight=0,
        earned_pods=0,
        route_weight=None,
        waiting_since=None,
        **{"hold_since": builder.now, **fields},
    )
    withdraw_traffic(builder)
    builder.requeue_after(0)
