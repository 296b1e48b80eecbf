"""The fast parser and the pydantic model agree about every body.

Seen to fail with the bounds taken out of the fast parser's lengths, and with unknown fields allowed there.
"""

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iris_inference.api import predict_request
from iris_inference.api.body import parse_json
from iris_inference.api.schemas import FEATURES, MAX_LENGTH_CM, PredictRequest
from iris_inference.errors import ProblemError
from iris_inference.model.runtime import Instance

FLOWER = "[5.1, 3.5, 1.4, 0.2]"
NAMED = '{"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}'
# fmt: off
# Each list varies one part of a valid body in all the ways that a client may think of.
NUMBERS = [
    *("0", "-0", "-0.0", "1", "1.0", "1e0", "1E+2", "1e-400", "0.1", "5.000000000000000001", "1000000", "-1000000"),
    *("1000000.0000000001", "1000000.00000000001", "-1e6", "1e7", "1e300", "1e999", "-1e999", "1" + "0" * 400),
    *("18446744073709551616", "9007199254740993", "NaN", "-NaN", "Infinity", "-Infinity", "inf", "null", "true"),
    *('"1.4"', '"NaN"', "[]", "{}", "[1.4]", "01", "+1", "1.", ".5", "1e", "0x10", "1_0", "--1", "\u0661", "1 2"),
]
FLOWERS = [
    *(FLOWER, NAMED, "[]", "{}", "5.1", '"x"', "null", "[5.1, 3.5, 1.4]", "[5.1, 3.5, 1.4, 0.2, 1]", f"[{FLOWER}]"),
    *(NAMED.replace("sepal_width", "sepal_length"), NAMED.replace("sepal_width", "colour")),
    *(NAMED.replace("}", ', "colour": 1}'), NAMED.replace("sepal_width", "sepal\\u005fwidth")),
    NAMED.replace("5.1", "true"),
]
BODIES = [
    *("", " ", "{", "[]", "null", "{}", '{"instances": []}', '{"instances": null}', '{"instances": {}}', "\ufeff{}"),
    *(f'{{"instances": [{FLOWER}], "extra": 1}}', f'{{"instances": [{FLOWER}], "instances": [{NAMED}]}}'),
    *(f'{{"instances": [{FLOWER}], "instances": 1}}', f'{{"\\u0069nstances": [{FLOWER}]}}'),
    *(f'{{"Instances": [{FLOWER}]}}', f' {{ "instances" :\t[ {FLOWER} , {NAMED} ]\r\n}} \n'),
    *(f'{{"instances": [{FLOWER}]}}x', f'{{"instances": [{FLOWER},]}}'),
    *(f"{{'instances': [{FLOWER}]}}", f'{{"instances": [{FLOWER}]}}\0', f'/**/{{"instances": [{FLOWER}]}}'),
    *(f'{{"instances": [{",".join([FLOWER] * 256)}]}}', f'{{"instances": [{",".join([FLOWER] * 257)}]}}'),
    *('{"instances": ' + "[" * 100_000, '{"instances": ' + '{"a":' * 100_000),
    '{"x": ' + "[" * 5_000 + "]" * 5_000 + "}",
    *(f'{{"instances": [[{number}, 3.5, 1.4, 0.2]]}}' for number in NUMBERS),
    *(f'{{"instances": [{NAMED.replace("5.1", number)}]}}' for number in NUMBERS),
    *(f'{{"instances": [{FLOWER}, {flower}]}}' for flower in FLOWERS),
]
# fmt: on
NOT_TEXT = [b"\xff", b'{"instances": [[5.1, 3.5, 1.4, 0.2]]\xff}', b'{"instances\xc3": 1}', b'{"\xed\xa0\x80": 1}']


def exact(instances: list[Instance]) -> list[list[str]]:
    """-0.0 equals 0.0; as text they differ."""
    return [[float(value).hex() for value in instance] for instance in instances]


def outcome(parse: Any, content: bytes) -> Any:
    try:
        return exact(parse(content))
    except ProblemError as problem:
        return (problem.status, problem.kind, problem.detail, problem.errors)


def by_the_model(content: bytes) -> list[Instance]:
    return parse_json(content, PredictRequest).vectors()


def by_msgspec(content: bytes) -> Any:
    """What the fast parser accepts, None when it leaves the body to the model."""
    try:
        return [
            flower if isinstance(flower, tuple) else msgspec.structs.astuple(flower)
            for flower in predict_request._decode(content).instances
        ]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


@pytest.mark.parametrize("content", [*(body.encode() for body in BODIES), *NOT_TEXT], ids=lambda value: str(value)[:60])
def test_both_parsers_agree_on_every_body(content: bytes) -> None:
    assert outcome(predict_request.parse_instances, content) == outcome(by_the_model, content)


@pytest.mark.parametrize("body", [f'{{"instances": [{FLOWER}]}}', f'{{"instances": [{NAMED}, {FLOWER}]}}'])
def test_valid_bodies_do_not_need_the_pydantic_model(body: str) -> None:
    assert by_msgspec(body.encode()) == by_the_model(body.encode())


numbers = st.one_of(
    st.floats(),
    st.integers(),
    st.floats(-MAX_LENGTH_CM, MAX_LENGTH_CM),
    st.sampled_from([MAX_LENGTH_CM, math.nextafter(MAX_LENGTH_CM, math.inf), -0.0, 5e-324]),
)
odd = st.one_of(st.none(), st.booleans(), st.text(max_size=5))
lengths = st.one_of(numbers, numbers, numbers, odd)
arrays = st.lists(lengths, min_size=3, max_size=5) | st.lists(numbers, min_size=4, max_size=4)
named = st.dictionaries(st.sampled_from([*FEATURES, "colour"]), lengths, min_size=3) | st.fixed_dictionaries(
    dict.fromkeys(FEATURES, numbers)
)
flowers = st.lists(st.one_of(arrays, named, odd), max_size=4)
bodies = st.fixed_dictionaries({"instances": flowers}, optional={"extra": odd})


@settings(max_examples=1_000, deadline=None)
@given(bodies, st.sampled_from([None, 1]))
def test_both_parsers_agree_on_generated_bodies(body: dict[str, Any], indent: int | None) -> None:
    content = json.dumps(body, indent=indent).encode()
    assert outcome(predict_request.parse_instances, content) == outcome(by_the_model, content)


@settings(max_examples=1_000, deadline=None)
@given(st.sampled_from([f'{{"instances": [{FLOWER}, {NAMED}]}}']), st.data())
def test_both_parsers_agree_on_a_valid_body_with_changed_bytes(body: str, data: st.DataObject) -> None:
    content = bytearray(body.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.sampled_from(b'0123456789.eE+-[]{}",: nul\x00\xff'))
    assert outcome(predict_request.parse_instances, bytes(content)) == outcome(by_the_model, bytes(content))


@settings(max_examples=500, deadline=None)
@given(st.decimals(-MAX_LENGTH_CM, MAX_LENGTH_CM, allow_nan=False, places=None).map(str) | st.floats(-10, 10).map(str))
def test_numbers_are_parsed_exactly(number: str) -> None:
    content = f'{{"instances": [[{number}, 0, 0, 0]]}}'.encode()
    assert outcome(predict_request.parse_instances, content) == outcome(by_the_model, content)
