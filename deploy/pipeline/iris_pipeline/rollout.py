"""The last part of the local pipeline: the release under constant traffic, until it is decided."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from iris_demo import access, counts
from iris_demo.kube import RELEASES, Kube, Object, connect, local_authority
from iris_demo.load import Load
from iris_demo.screen import Screen
from iris_demo.story import PREDICT_URL
from iris_demo.traffic import first_answer, traffic
from iris_pipeline import releasing
from iris_pipeline.errors import PipelineError
from iris_pipeline.outcome import State, Wanted
from iris_pipeline.summary import Finished
from iris_pipeline.waiting import Trail, until_decided

ROUTE_SECONDS = 30.0


@dataclass(frozen=True)
class Plan:
    """What to release. `images` has the reference of each published version, `seconds` bounds each rollout."""

    kubeconfig: Path
    template: Object
    version: str
    baseline: str
    images: Mapping[str, str]
    pull_secret: str
    rate: float
    seconds: float

    @property
    def namespace(self) -> str:
        """Where the release is."""
        namespace: str = self.template["metadata"]["namespace"]
        return namespace

    @property
    def name(self) -> str:
        """What it is called."""
        name: str = self.template["metadata"]["name"]
        return name

    @property
    def load(self) -> Load:
        """The traffic, bounded should this program be stopped from stopping it."""
        host, requests = self.template["spec"]["traffic"]["host"], int(self.rate * self.seconds)
        load = Load(PREDICT_URL, host, self.rate, self.seconds, requests, authority=str(local_authority()))
        # Flowers of its own: those of an earlier run are in stable's cache only, which leaves nothing to compare.
        return replace(load, seed=int(time.time()))


async def exists(kubeconfig: Path, template: Object) -> bool:
    """Whether the release is there already: a canary needs something to be compared with."""
    metadata = template["metadata"]
    async with connect(kubeconfig) as kube:
        return await kube.get(RELEASES, metadata["namespace"], metadata["name"]) is not None


async def release(plan: Plan, screen: Screen) -> Finished:
    """Releases the version, under traffic where one serves before it.

    Raises:
        PipelineError: the baseline could not be deployed, or the route does not answer.
    """
    async with connect(plan.kubeconfig) as kube:
        if await kube.get(RELEASES, plan.namespace, plan.name) is None:
            first = await _turn(kube, plan, plan.baseline, screen)
            if not first.promoted:
                raise PipelineError(f"{plan.baseline} should serve first, but: {first.outcome.reason}")
            if plan.version == plan.baseline:
                return first
        load = await _ready_to_send(kube, plan)
        async with traffic(load) as running:
            running.listen(screen.samples)
            began = time.time()
            finished = await _turn(kube, plan, plan.version, screen)
        # Outside of the block, because its end waits for the answers that are still on their way.
        meanwhile = counts.totals([sample for sample in running.samples if sample.scheduled >= began])
        return Finished(**vars(finished) | {"traffic": meanwhile})


async def _ready_to_send(kube: Kube, plan: Plan) -> Load:
    """The traffic with a key that the service knows, once it answers."""
    try:
        key = await access.new_key(kube, plan.kubeconfig, plan.namespace, plan.name)
        load = replace(plan.load, key=key)
        await first_answer(load, ROUTE_SECONDS)
    except access.NoKeyError as error:
        raise PipelineError(str(error)) from None
    except TimeoutError:
        raise PipelineError(f"No answer at {plan.load.url} for {plan.load.host}, or no pod that is ready.") from None
    return load


async def _turn(kube: Kube, plan: Plan, version: str, screen: Screen) -> Finished:
    wanted = Wanted(version, plan.images[version])
    trail = Trail(screen.line)
    screen.say("release", f"{plan.namespace}/{plan.name} shall serve {version}, {wanted.image}")
    await releasing.ask_for(
        kube, plan.namespace, plan.name, wanted, pull_secret=plan.pull_secret, template=plan.template
    )
    outcome = await until_decided(kube, plan.namespace, plan.name, wanted, trail, seconds=plan.seconds)
    if outcome.state is State.DELETED:
        raise PipelineError(outcome.reason)
    return Finished(plan.name, wanted, outcome, trail.seconds, trail.weights(), trail.resource)
