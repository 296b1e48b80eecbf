import pytest

from iris_inference.settings import SettingsError, read_settings


def test_the_defaults_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IRIS_PORT", "DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    settings = read_settings()
    assert (settings.port, settings.metrics_port, settings.database_url, settings.redis_url) == (8000, 9100, None, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IRIS_PORT", "0"),
        ("IRIS_PORT", "http"),
        ("IRIS_LOG_LEVEL", "LOUD"),
        ("IRIS_DRAIN_SECONDS", "-1"),
        ("IRIS_CACHE_TIMEOUT_SECONDS", "0"),
        ("IRIS_SPOOL_MAX_BYTES", "1000"),
        ("IRIS_SPOOL_SYNC", "sometimes"),
        ("IRIS_SCHEMA_MODE", "guess"),
        ("DATABASE_URL", "mysql://iris:hunter2@db/iris"),
        ("DATABASE_URL", "postgresql:///iris:hunter2"),
        ("REDIS_URL", "http://:hunter2@redis"),
    ],
)
def test_a_wrong_variable_is_named_and_its_value_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name}: ") as refusal:
        read_settings()
    assert "hunter2" not in str(refusal.value)


def test_a_password_is_not_shown_by_the_settings_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2@redis:6379/0")
    settings = read_settings()
    assert "hunter2" not in repr(settings)
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == "redis://:hunter2@redis:6379/0"
