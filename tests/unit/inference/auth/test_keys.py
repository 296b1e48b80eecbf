import pytest

from iris_inference.auth import keys


def test_a_key_is_read_back_from_its_text() -> None:
    key = keys.generate()
    assert keys.parse(key.text) == key
    assert key.text == f"iris_{key.key_id}_{key.secret}"


def test_a_secret_has_256_bits_and_is_never_the_same() -> None:
    secrets = {keys.generate().secret for _ in range(100)}
    assert len(secrets) == 100
    assert {len(bytes.fromhex(secret)) * 8 for secret in secrets} == {256}


def test_only_the_right_secret_and_salt_match_a_stored_digest() -> None:
    key, salt = keys.generate(), keys.new_salt()
    digest = keys.digest(salt, key.secret)
    assert keys.verify(key.secret, salt, digest)
    assert not keys.verify(keys.generate().secret, salt, digest)
    assert not keys.verify(key.secret, keys.new_salt(), digest)
    assert not keys.verify(key.secret[:-1], salt, digest)


def test_equal_secrets_have_different_digests() -> None:
    secret = keys.generate().secret
    assert keys.digest(keys.new_salt(), secret) != keys.digest(keys.new_salt(), secret)


def test_a_key_does_not_show_its_secret_in_its_representation() -> None:
    key = keys.generate()
    assert key.secret not in repr(key)
    assert key.secret not in f"{key}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "iris_",
        "iris_0123456789ab",
        f"iris_0123456789ab_{'a' * 63}",
        f"iris_0123456789ab_{'a' * 65}",
        f"iris_0123456789AB_{'a' * 64}",
        f"iris_0123456789ab_{'g' * 64}",
        f"Iris_0123456789ab_{'a' * 64}",
        f"iris_0123456789ab_{'a' * 64}\n",
        f" iris_0123456789ab_{'a' * 64}",
        f"iris_0123456789ab_{'٣' * 64}",
    ],
)
def test_text_of_another_format_is_not_parsed_as_a_key(text: str) -> None:
    assert keys.parse(text) is None
