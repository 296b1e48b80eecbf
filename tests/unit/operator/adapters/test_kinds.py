"""One table of kinds: the Role, the indices, the handlers and the watches follow from it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import kopf
import pytest
import yaml

from iris_operator import handlers
from iris_operator.adapters.kinds import ALL, WATCHED, required_rights
from iris_operator.api import names
from iris_operator.application import Application
from iris_operator.engine.kinds import EVENT, LEASE, WATCHED_BY_ENGINE, ReconcileOn
from iris_operator.engine.ports import OwnedObjects
from iris_operator.settings import Settings
from support.operator import rbac
from support.operator.rbac import granted

WATCHED_BY_LABEL = {kind.plural for kind in WATCHED}


@pytest.fixture
def application() -> Application:
    return Application(Settings(namespaces=("iris",), prometheus_url="http://prometheus:9090"))


def handlers_of(registry: Any) -> list[Any]:
    return [handler for handler in registry._handlers if handler.selector.any_name != names.PLURAL]


def test_the_role_grants_what_the_table_names_and_nothing_else() -> None:
    assert set(required_rights()) == granted()


def test_the_role_for_the_election_grants_what_the_table_names_and_nothing_else() -> None:
    assert set(required_rights([LEASE])) == granted(rbac.LEASE)


def test_every_kind_that_the_operator_writes_is_fenced_but_events() -> None:
    policy = next(item for item in yaml.safe_load_all(rbac.FENCING.read_text()) if "matchConstraints" in item["spec"])
    rules = policy["spec"]["matchConstraints"]["resourceRules"]
    fenced = {(group, name) for rule in rules for group in rule["apiGroups"] for name in rule["resources"]}
    written = {
        (group, resource)
        for verb, group, resource in required_rights(kind for kind in ALL if kind != EVENT)
        if verb not in ("get", "list", "watch")
    }
    assert fenced == written
    assert all(rule["operations"] == ["CREATE", "UPDATE", "DELETE"] for rule in rules)


def test_every_owned_object_of_the_engine_has_an_index() -> None:
    assert sorted(kind.index for kind in WATCHED_BY_ENGINE) == sorted(field.name for field in fields(OwnedObjects))


def test_every_kind_has_one_row() -> None:
    assert len({(kind.api_version, kind.kind) for kind in ALL}) == len(ALL)


def test_every_watched_kind_reconciles_the_release_of_its_label(application: Application) -> None:
    registry = kopf.OperatorRegistry()
    handlers.register(registry, application)
    indices = {handler.id: handler.selector.any_name for handler in handlers_of(registry._indexing)}
    assert indices == {kind.index: kind.plural for kind in WATCHED if kind.index}
    events = handlers_of(registry._watching)
    assert sorted(handler.selector.any_name for handler in events) == sorted(WATCHED_BY_LABEL)
    for handler in events:
        (kind,) = (kind for kind in WATCHED if kind.plural == handler.selector.any_name)
        assert (handler.selector.group, handler.selector.version) == (kind.group, kind.version)
        assert handler.labels == {names.LABEL_RELEASE: kopf.PRESENT}
        assert (handler.when is not None) == (kind.reconcile_on is ReconcileOn.DELETION)


def test_only_objects_with_the_label_of_a_release_are_watched(application: Application) -> None:
    settings = kopf.OperatorSettings()
    application.configure(settings)
    selectors = settings.watching.label_selectors
    assert {selector.any_name for selector in selectors} == WATCHED_BY_LABEL
    assert set(selectors.values()) == {names.LABEL_RELEASE}
