"""The judgement that is due, taken into the observation. None yet: the decision rests on pods and route alone."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from iris_operator.engine.analyze import Analyzer
from iris_operator.engine.judgements import Basis, Judgements, Kind
from iris_operator.engine.observe import with_baseline, with_judgement, with_watch_judgement
from iris_operator.engine.ports import OwnedObjects
from iris_operator.engine.release import Release
from iris_operator.rollout.decide import baseline_due, judgement_due, watch_due
from iris_operator.rollout.observation import Observation


async def judge_due(
    observation: Observation,
    release: Release,
    owned: OwnedObjects,
    now: datetime,
    analyzer: Analyzer,
    judgements: Judgements,
) -> Observation:
    """The same observation, with the judgement that is due now if it has been made for just this state.

    Raises:
        JudgementFailed: it could not be made.
    """
    if judgement_due(observation, now):
        kind, judge, include = Kind.CANARY, analyzer.judge, with_judgement
    elif baseline_due(observation, now):
        kind, judge, include = Kind.BASELINE, analyzer.judge_baseline, with_baseline
    elif watch_due(observation, now):
        kind, judge, include = Kind.WATCH, analyzer.judge_watch, with_watch_judgement
    else:
        return observation
    key = (release.namespace, release.name)
    result = await judgements.newest(key, Basis.of(kind, release), partial(judge, release, owned, now))
    return observation if result is None else include(observation, result)
