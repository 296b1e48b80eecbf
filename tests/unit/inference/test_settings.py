import pytest

from iris_inference.settings import DatabaseSettings, Settings, SettingsError, read_settings

DATABASE = "postgresql://iris:hunter2@db/iris"


def test_the_defaults_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IRIS_PORT", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABASE_URL", DATABASE)
    settings = read_settings(Settings)
    assert (settings.port, settings.metrics_port, settings.redis_url, settings.auth) == (8000, 9100, None, "required")


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
        ("IRIS_AUTH", "sometimes"),
        ("IRIS_AUTH_STALE_SECONDS", "0"),
        ("IRIS_LATENCY_BUCKETS", ""),
        ("IRIS_LATENCY_BUCKETS", "0,1"),
        ("IRIS_LATENCY_BUCKETS", "0.1,0.1"),
        ("IRIS_LATENCY_BUCKETS", "0.1,inf"),
        ("IRIS_LATENCY_BUCKETS", "0.1,nan"),
        ("IRIS_LATENCY_BUCKETS", "0.1;0.2"),
        ("IRIS_MODEL_PUBLIC_KEYS", ""),
        ("IRIS_MODEL_PUBLIC_KEYS", "hunter2"),
    ],
)
def test_an_invalid_variable_is_named_and_its_value_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", DATABASE)
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name}: ") as refusal:
        read_settings(Settings)
    assert "hunter2" not in str(refusal.value)


def test_latency_buckets_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", DATABASE)
    monkeypatch.setenv("IRIS_LATENCY_BUCKETS", "0.004, 0.005,0.25")
    assert read_settings(Settings).latency_buckets == (0.004, 0.005, 0.25)


def test_a_password_is_not_shown_by_the_settings_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2@redis:6379/0")
    monkeypatch.setenv("DATABASE_URL", DATABASE)
    settings = read_settings(Settings)
    assert "hunter2" not in repr(settings)
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == "redis://:hunter2@redis:6379/0"


def test_required_keys_without_a_database_stop_the_start_with_both_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(SettingsError, match=r"^IRIS_AUTH: .*set DATABASE_URL, or IRIS_AUTH=off to serve everybody"):
        read_settings(Settings)
    monkeypatch.setenv("IRIS_AUTH", "off")
    assert read_settings(Settings).database_url is None


def test_a_wrong_database_url_is_one_error_and_not_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://iris:hunter2@db/iris")
    with pytest.raises(SettingsError) as refusal:
        read_settings(Settings)
    assert [line.partition(":")[0] for line in str(refusal.value).splitlines()] == ["DATABASE_URL"]


def test_commands_on_the_database_need_only_its_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IRIS_PORT", "http")
    monkeypatch.setenv("DATABASE_URL", DATABASE)
    assert read_settings(DatabaseSettings).schema_mode == "migrate"
