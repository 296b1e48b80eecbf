"""Judge all releases that are due at the same moment in one call."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from iris_operator.analysis.judge import Judgement, judge_fleet
from iris_operator.analysis.prepare import AnalysisInput


@dataclass
class _WaitingInput:
    analysis_input: AnalysisInput
    judgement: Judgement | None = None


class BatchJudge:
    """Judges all waiting inputs in one call: releases that are due at the same moment cost little more than one."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._waiting: list[_WaitingInput] = []

    async def judge(self, analysis_input: AnalysisInput) -> Judgement:
        """The judgement of one input, made by this call or along with those of another one."""
        own = _WaitingInput(analysis_input)
        self._waiting.append(own)
        try:
            async with self._lock:
                if own.judgement is None:
                    await self._judge_all()
        finally:
            # Also when this call is cancelled: the other inputs stay for the next one that gets the lock.
            self._waiting = [each for each in self._waiting if each is not own]
        assert own.judgement is not None, "it was part of the batch"  # noqa: S101 - an invariant of the lines above
        return own.judgement

    async def _judge_all(self) -> None:
        batch = list(self._waiting)
        # In a thread, so that the computation for many releases delays no other reconcile.
        judgements = await asyncio.to_thread(judge_fleet, [each.analysis_input for each in batch])
        for each, judgement in zip(batch, judgements, strict=True):
            each.judgement = judgement
