import pytest

from iris_inference.shadow import ticket

KEY_ID = "0123456789ab"
DIGEST = b"d" * 32


def test_a_ticket_is_read_as_it_was_made() -> None:
    shown = ticket.parse(ticket.signed("def456", 1_700_000_000, KEY_ID, DIGEST, "request").encode())
    assert shown is not None
    assert (shown.revision, shown.at, shown.key_id) == ("def456", 1_700_000_000, KEY_ID)
    assert ticket.belongs(shown, DIGEST, "request")


def test_a_ticket_is_good_for_nothing_else() -> None:
    shown = ticket.parse(ticket.signed("def456", 1_700_000_000, KEY_ID, DIGEST, "request").encode())
    assert shown is not None
    assert not ticket.belongs(shown, b"e" * 32, "request")
    assert not ticket.belongs(shown, DIGEST, "another")
    assert not ticket.belongs(shown._replace(revision="abc123"), DIGEST, "request")
    assert not ticket.belongs(shown._replace(at=1_700_000_001), DIGEST, "request")


def test_one_that_is_not_signed_belongs_to_nobody() -> None:
    shown = ticket.parse(ticket.unsigned("def456", 1_700_000_000).encode())
    assert shown is not None
    assert (shown.key_id, shown.mac) == (None, None)
    assert not ticket.belongs(shown, DIGEST, "request")


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
def test_what_does_not_look_like_one_is_none(value: bytes) -> None:
    assert ticket.parse(value) is None
