import subprocess
from pathlib import Path

import pytest

from iris_local import provenance
from iris_local.provenance import Provenance

WHO = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_COMMITTER_NAME": "a"}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in (WHO | {"GIT_COMMITTER_EMAIL": "a@example.com", "GIT_CONFIG_GLOBAL": "/dev/null"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2026-01-02T03:04:05+02:00")
    git(tmp_path, "init", "--quiet")
    for name in ("one", "other"):
        (tmp_path / name).write_text(name)
        git(tmp_path, "add", name)
        git(tmp_path, "commit", "--quiet", "--message", name)
    return tmp_path


def git(checkout: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", checkout, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_an_image_comes_from_the_commit_that_last_changed_its_sources(checkout: Path) -> None:
    found = provenance.of([checkout / "one"], checkout, {})
    assert found == Provenance(git(checkout, "rev-parse", "HEAD~1"), "2026-01-02T01:04:05Z", "unknown")
    assert provenance.of([checkout / "other"], checkout, {}).revision == git(checkout, "rev-parse", "HEAD")
    assert (found.short, found.modified) == (found.revision[:12], False)


def test_uncommitted_changes_are_marked(checkout: Path) -> None:
    (checkout / "one").write_text("changed")
    found = provenance.of([checkout / "one"], checkout, {})
    assert found.revision == git(checkout, "rev-parse", "HEAD~1") + "-modified"
    assert (found.short, found.modified) == (found.revision[:12] + "-modified", True)
    assert not provenance.of([checkout / "other"], checkout, {}).modified


def test_outside_of_a_repository_the_provenance_is_unknown(tmp_path: Path) -> None:
    assert provenance.of([tmp_path], tmp_path, {}) == Provenance("unknown", "unknown", "unknown")


@pytest.mark.parametrize(
    ("origin", "source"),
    [
        ("https://user:token@example.com/iris/releases.git", "https://example.com/iris/releases"),
        ("/somewhere/on/this/machine", "unknown"),
    ],
)
def test_the_source_is_a_public_url_without_a_password(checkout: Path, origin: str, source: str) -> None:
    git(checkout, "remote", "add", "origin", origin)
    assert provenance.of([checkout / "one"], checkout, {}).source == source


def test_on_github_the_source_is_the_repository_of_the_run(checkout: Path) -> None:
    environment = {"GITHUB_SERVER_URL": "https://example.com", "GITHUB_REPOSITORY": "iris/releases"}
    assert provenance.of([checkout / "one"], checkout, environment).source == "https://example.com/iris/releases"
