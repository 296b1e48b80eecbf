"""Judgements in virtual time: made at once, in the reconcile that asks for them."""

from __future__ import annotations

from iris_operator.engine.judgements import Basis, Judge, Key
from iris_operator.rollout.observation import AnalysisResult


class ImmediateJudgements:
    """Implements `engine.judgements.Judgements`; keeps the newest one as the running operator does."""

    def __init__(self) -> None:
        self._newest: dict[Key, tuple[Basis, AnalysisResult]] = {}

    async def newest(self, key: Key, basis: Basis, judge: Judge) -> AnalysisResult | None:
        """See `Judgements.newest`."""
        found = self._newest.get(key)
        if found is None or found[0] != basis:
            self._newest[key] = found = basis, await judge()
        return found[1]

    def forget(self, key: Key) -> None:
        """See `Judgements.forget`."""
        self._newest.pop(key, None)
