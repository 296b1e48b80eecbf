import pytest

from iris_inference.shadow import shadow_token

KEY_ID = "0123456789ab"
DIGEST = b"d" * 32


def test_a_token_is_parsed_as_it_was_signed() -> None:
    token = shadow_token.parse(shadow_token.signed("def456", 1_700_000_000, KEY_ID, DIGEST, "request").encode())
    assert token is not None
    assert (token.revision, token.issued_at, token.key_id) == ("def456", 1_700_000_000, KEY_ID)
    assert shadow_token.verify(token, DIGEST, "request")


def test_a_token_is_valid_for_nothing_else() -> None:
    token = shadow_token.parse(shadow_token.signed("def456", 1_700_000_000, KEY_ID, DIGEST, "request").encode())
    assert token is not None
    assert not shadow_token.verify(token, b"e" * 32, "request")
    assert not shadow_token.verify(token, DIGEST, "another")
    assert not shadow_token.verify(token._replace(revision="abc123"), DIGEST, "request")
    assert not shadow_token.verify(token._replace(issued_at=1_700_000_001), DIGEST, "request")


def test_an_unsigned_token_does_not_verify() -> None:
    token = shadow_token.parse(shadow_token.unsigned("def456", 1_700_000_000).encode())
    assert token is not None
    assert (token.key_id, token.mac) == (None, None)
    assert not shadow_token.verify(token, DIGEST, "request")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"def456",
        b"def456;soon",
        b"def456;1;0123456789ab",
        b"def456;1;0123456789ab;" + b"0" * 63,
        b"def456;1;0123456789AB;" + b"0" * 64,
        b"def 456;1",
        b"def456;1\n",
        b"\xff;1",
        "def456;\N{ARABIC-INDIC DIGIT ONE}".encode(),
        b"r" * 64 + b";1",
    ],
)
def test_a_malformed_token_is_none(value: bytes) -> None:
    assert shadow_token.parse(value) is None
