from __future__ import annotations

import stat
from pathlib import Path

import pytest

from iris_pipeline import cli, stages
from iris_pipeline.outcome import Outcome, State, desired_model
from iris_pipeline.publish import PublishedImage
from iris_pipeline.summary import RolloutResult
from support.pipeline.operated import release_in_state

DIGEST = f"sha256:{'d' * 64}"


@pytest.fixture(autouse=True)
def outside_of_github(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_ACTIONS", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "IRIS_KUBECONFIG", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)


def ended(monkeypatch: pytest.MonkeyPatch, state: State, reason: str) -> None:
    resource = release_in_state("rolled_back")
    found = RolloutResult("iris", desired_model(resource), Outcome(state, reason), 12.0, [], resource)
    monkeypatch.setattr(stages, "run", lambda *_: found)


@pytest.mark.parametrize("command", ["run", "publish", "release", "wait"])
def test_every_command_has_a_help_text(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main([command, "--help"])
    assert left.value.code == 0
    assert "usage: python -m iris_pipeline" in capsys.readouterr().out


def test_a_promotion_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    ended(monkeypatch, State.PROMOTED, "version 2.0.0 serves all traffic")
    assert cli.main(["run"]) == 0


@pytest.mark.parametrize("state", [State.ROLLED_BACK, State.UNDECIDED, State.SUPERSEDED, State.DELETED])
def test_anything_but_a_promotion_fails_with_the_reason(
    state: State, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ended(monkeypatch, state, "ErrorRate: [36/36] failed")
    page = tmp_path / "summary.md"
    page.write_text("before\n")
    assert cli.main(["run", "--summary", str(page)]) == 1
    assert capsys.readouterr().out.endswith(f"iris 3.0.0 {state}: ErrorRate: [36/36] failed\n")
    assert page.read_text().startswith("before\n### ")
    assert "ErrorRate: [36/36] failed" in page.read_text()


def test_on_github_the_reason_is_shown_above_the_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended(monkeypatch, State.ROLLED_BACK, "ErrorRate")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    cli.main(["run"])
    assert "\n::error title=Release::iris 3.0.0 RolledBack: ErrorRate\n" in capsys.readouterr().out


def test_an_image_without_a_digest_is_not_released(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["release", "--version", "2.0.0", "--image", "registry.example.com/iris-inference:2.0.0"]) == 2
    assert "has no digest" in capsys.readouterr().out


def test_a_model_that_does_not_exist_is_refused_before_anything_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--version", "9.9.9"]) == 2
    assert "There is no model 9.9.9; there are: 1.0.0, " in capsys.readouterr().out
    assert cli.main(["publish", "--version", "9.9.9"]) == 2


def test_a_push_to_another_registry_needs_a_name_and_a_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("REGISTRY_USERNAME", raising=False)
    assert cli.main(["publish", "--registry", "registry.example.com"]) == 2
    assert "$REGISTRY_USERNAME is not set" in capsys.readouterr().out


def test_later_steps_of_a_job_get_names_and_digests() -> None:
    published = [
        PublishedImage(f"registry.example.com/iris-{name}", "t", DIGEST, "1 MB", Path("artifacts/sbom/x.cdx.json"))
        for name in ("operator", "inference")
    ]
    outputs = dict(line.strip().split("=", 1) for line in cli._outputs(published))
    assert outputs["inference-image"] == f"registry.example.com/iris-inference@{DIGEST}"
    assert outputs["operator-digest"] == DIGEST
    assert outputs["operator-sbom"] == "artifacts/sbom/x.cdx.json"


def test_a_kubeconfig_from_a_secret_is_readable_by_nobody_else_and_gone_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("IRIS_KUBECONFIG", "text of a kubeconfig")
    with cli._kubeconfig() as path:
        assert path.read_text() == "text of a kubeconfig"
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.exists()


def test_a_missing_kubeconfig_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert cli.main(["wait"]) == 2
