"""Whether the cluster still has, or already has, what the operator works on: the CRD and the namespaces."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection

from iris_operator.adapters.kubernetes.api import KubernetesApi
from iris_operator.api import names
from iris_operator.engine.kinds import RELEASE
from iris_operator.engine.ports import Conflict, Forbidden, Json, NotLeader, Unavailable

log = logging.getLogger(__name__)

_POLL_SECONDS = 5.0


async def await_definition(api: KubernetesApi, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Return when the API server serves releases. Until then, say what is to be done.

    Kopf begins after that, and would not notice a CRD that is applied later.
    """
    while not await _serves_releases(api):
        log.error(
            "the API server does not serve %s.%s, so there is nothing to do: install the CRD with "
            "`kubectl apply --server-side -f crds/`; the operator waits for it",
            names.PLURAL,
            names.GROUP,
        )
        await sleep(_POLL_SECONDS)


async def has_releases(api: KubernetesApi, namespace: str) -> bool:
    """Is there any release that a watch will tell of? Those that go with their namespace do not count."""
    return await api.any_stored(RELEASE, namespace) and not await is_terminating(api, namespace)


async def release_finalizers(api: KubernetesApi, namespaces: Collection[str]) -> None:
    """Take the finalizer off releases that go together with their namespace: nothing is left to be done in order."""
    for namespace in namespaces:
        try:
            if not await is_terminating(api, namespace):
                continue
            for item in await api.list_objects(RELEASE, namespace):
                await _release_finalizer(api, item)
        except (Conflict, Forbidden, NotLeader, Unavailable) as error:
            log.warning("finalizers in namespace %s were not looked at: %s", namespace, error)


async def is_terminating(api: KubernetesApi, namespace: str) -> bool:
    """Is the namespace being deleted? False without the right to know."""
    try:
        found = await api.read(f"/api/v1/namespaces/{namespace}")
    except Forbidden:
        return False
    return found is None or "deletionTimestamp" in found["metadata"]


async def _release_finalizer(api: KubernetesApi, item: Json) -> None:
    metadata = item["metadata"]
    finalizers = metadata.get("finalizers") or []
    if "deletionTimestamp" not in metadata or names.FINALIZER not in finalizers:
        return
    kept = [each for each in finalizers if each != names.FINALIZER]
    changes = {"metadata": {"finalizers": kept, "resourceVersion": metadata["resourceVersion"]}}
    await api.merge_patch({**RELEASE.type_meta, "metadata": metadata}, changes)
    log.info("%s goes with its namespace %s", metadata["name"], metadata["namespace"])


async def _serves_releases(api: KubernetesApi) -> bool:
    try:
        found = await api.read(f"/apis/{names.API_VERSION}")
    except (Forbidden, Unavailable) as error:
        log.warning("the API server does not say whether it serves releases: %s", error)
        return False
    return found is not None and any(each["name"] == names.PLURAL for each in found.get("resources", ()))
