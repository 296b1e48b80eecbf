"""The last stage of the local pipeline: the release under constant traffic, until it is decided."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from iris_demo import access, counts
from iris_demo.addresses import PREDICT_URL
from iris_demo.kube import KubeClient, Object, connect
from iris_demo.kubeconfig import local_ca_certificate
from iris_demo.load import LoadConfig
from iris_demo.resources import RELEASES
from iris_demo.terminal import Terminal
from iris_demo.traffic import run_load, wait_until_serving
from iris_pipeline import releasing
from iris_pipeline.errors import PipelineError
from iris_pipeline.outcome import DesiredModel, State
from iris_pipeline.summary import RolloutResult
from iris_pipeline.waiting import RolloutRecorder, wait_until_decided

ROUTE_SECONDS = 30.0


@dataclass(frozen=True)
class RolloutConfig:
    """What to release. `images` has the image reference of each published version, `seconds` bounds each rollout."""

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
        """The release's namespace."""
        namespace: str = self.template["metadata"]["namespace"]
        return namespace

    @property
    def name(self) -> str:
        """The release's name."""
        name: str = self.template["metadata"]["name"]
        return name

    @property
    def load(self) -> LoadConfig:
        """The traffic, bounded in case this program is killed before it can stop it."""
        host, requests = self.template["spec"]["traffic"]["host"], int(self.rate * self.seconds)
        load = LoadConfig(PREDICT_URL, host, self.rate, self.seconds, requests, ca_file=str(local_ca_certificate()))
        # A seed of its own: instances of an earlier run are in stable's cache only, which would bias the comparison.
        return replace(load, seed=int(time.time()))


async def exists(kubeconfig: Path, template: Object) -> bool:
    """Whether the release exists already: a canary needs a stable version to be compared with."""
    metadata = template["metadata"]
    async with connect(kubeconfig) as kube:
        return await kube.get(RELEASES, metadata["namespace"], metadata["name"]) is not None


async def release(config: RolloutConfig, terminal: Terminal) -> RolloutResult:
    """Releases the version, under traffic when another one serves already.

    Raises:
        PipelineError: the baseline could not be deployed, or the route does not respond.
    """
    async with connect(config.kubeconfig) as kube:
        if await kube.get(RELEASES, config.namespace, config.name) is None:
            first = await _roll_out(kube, config, config.baseline, terminal)
            if not first.promoted:
                raise PipelineError(f"the baseline {config.baseline} was not promoted: {first.outcome.reason}")
            if config.version == config.baseline:
                return first
        load = await _prepare_load(kube, config)
        async with run_load(load) as running:
            running.listen(terminal.count_samples)
            began = time.time()
            result = await _roll_out(kube, config, config.version, terminal)
        # Outside of the block, whose end waits for the responses that are still in flight.
        totals = counts.totals([sample for sample in running.samples if sample.scheduled >= began])
        return RolloutResult(**vars(result) | {"traffic": totals})


async def _prepare_load(kube: KubeClient, config: RolloutConfig) -> LoadConfig:
    """The traffic with a new API key, once the route responds."""
    try:
        key = await access.create_key(kube, config.kubeconfig, config.namespace, config.name)
        load = replace(config.load, key=key)
        await wait_until_serving(load, ROUTE_SECONDS)
    except access.KeyCreationError as error:
        raise PipelineError(str(error)) from None
    except TimeoutError:
        raise PipelineError(f"No response at {config.load.url} for {config.load.host}, or no ready pod.") from None
    return load


async def _roll_out(kube: KubeClient, config: RolloutConfig, version: str, terminal: Terminal) -> RolloutResult:
    desired = DesiredModel(version, config.images[version])
    recorder = RolloutRecorder(terminal.print_line)
    terminal.log("release", f"{config.namespace}/{config.name} requested {version}, {desired.image}")
    await releasing.request_model(
        kube, config.namespace, config.name, desired, pull_secret=config.pull_secret, template=config.template
    )
    outcome = await wait_until_decided(kube, config.namespace, config.name, desired, recorder, seconds=config.seconds)
    if outcome.state is State.DELETED:
        raise PipelineError(outcome.reason)
    return RolloutResult(config.name, desired, outcome, recorder.seconds, recorder.weights(), recorder.resource)
