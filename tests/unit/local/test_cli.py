import pytest

from iris_local import cli


@pytest.mark.parametrize("command", ["up", "down", "status", "images", "build", "kubeconfig", "operator-image"])
def test_every_command_has_a_help_text(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    assert "usage: iris_local" in capsys.readouterr().out


def test_a_failure_is_one_line_and_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["build", "no-such-component"]) == 1
    assert capsys.readouterr().err.startswith("error: There is no component no-such-component")


def test_the_line_for_the_shell_points_at_the_clusters_own_files(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IRIS_CACHE", "/cache")
    assert cli.main(["kubeconfig"]) == 0
    assert capsys.readouterr().out == 'export KUBECONFIG=/cache/cluster/kubeconfig PATH="/cache/bin:$PATH"\n'
