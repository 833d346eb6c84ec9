"""An argument is the same value with `--local` and at volunteers, or it is refused."""

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.commandline.app import app
from p2p.compute import arguments, bundles
from p2p.compute.bundles import Description
from p2p.compute.spec import JobSpec
from p2p.errors import ConfigError
from p2p.jobs.frames import receive
from tests.support.local_jobs import HEAD

NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc\u0301 é"), inner, max_size=3),
    max_leaves=10,
)


def at_a_volunteer(given: Mapping[str, Any]) -> Any:
    """The arguments after the control socket, the bundle, and the first frame to a guest."""
    spec = msgspec.json.decode(msgspec.json.encode(JobSpec("job.py", args=dict(given))), type=JobSpec)
    written = msgspec.json.encode(Description(args=spec.args, partitions=1, reduce_partitions=1))
    frame = bundles.load_frame("id", {"job.py": b""}, msgspec.json.decode(written, type=Description))
    received = receive(BytesIO(len(frame).to_bytes(4, "big") + frame))
    assert received is not None
    return received[0]["args"]


@given(VALUES)
def test_what_is_taken_is_the_same_at_volunteers(value: object) -> None:
    local = arguments.parse_all([f"x={json.dumps(value)}"])
    assert repr(at_a_volunteer(local)) == repr(local)
    if not isinstance(value, str):
        assert repr(local) == repr({"x": value})


@pytest.mark.parametrize("text", ["-0.0", "1E5", "[1e308, 5e-324]", "123456789012345678901234567890", "0.1", '"NaN"'])
def test_numbers_at_the_edges_are_taken_as_they_are(text: str) -> None:
    local = arguments.parse_all([f"x={text}"])
    assert repr(local) == repr({"x": json.loads(text)}) == repr(at_a_volunteer(local))


@pytest.mark.parametrize("text", ["nan", "inf", "Lodz", "1e", "01", "0x10", '{"a": 1', "", " ", "NaN2"])
def test_what_is_no_json_is_text_on_both_sides(text: str) -> None:
    assert arguments.parse_all([f"x={text}"]) == {"x": text} == at_a_volunteer({"x": text})


def test_names_are_those_that_python_finds_in_the_job() -> None:
    assert arguments.parse_all(["cafe\u0301=1"]) == {"caf\u00e9": 1}


@pytest.mark.parametrize(("value", "json_has"), [("False", "false"), ("True", "true"), ("None", "null")])
def test_pythons_words_are_not_taken_for_text(value: str, json_has: str) -> None:
    """`--arg strict=False` was a text, and so true."""
    with pytest.raises(ConfigError, match=f"{value} would be a text.*JSON has {json_has}"):
        arguments.parse_all([f"x={value}"])
    assert arguments.parse_all([f'x="{value}"']) == {"x": value}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("NaN", "NaN is no number in JSON"),
        ("Infinity", "Infinity is no number"),
        ("[1, -Infinity]", "-Infinity is no number"),
        ('{"a": [NaN]}', "NaN is no number"),
        ("1e400", "1e400 is too large for a number"),
        ('{"a": -1e999}', "-1e999 is too large"),
        ("9" * 5000, "a number has 5000 digits"),
        ('{"a": 1, "a": 2}', 'the key "a" comes twice'),
        ('[{"b": {"\\u0061": 1, "a": 2}}]', 'the key "a" comes twice'),
        ('"\\ud800"', "must be UTF-8 text"),
        ('{"\\udfff": 1}', "must be UTF-8 text"),
        ("caf\udce9", "must be UTF-8 text"),
        ("[" * 65 + "]" * 65, "nested deeper than 64"),
        ("[" * 20_000 + "]" * 20_000, "nested deeper than 64"),
        ('"a\\u0000"', "no NUL"),
        (json.dumps("x" * 70_000), "Use --input"),
    ],
)
def test_what_would_be_another_value_elsewhere_is_refused(value: str, why: str) -> None:
    """`--arg x=NaN` was a float with `--local`, and None at volunteers."""
    with pytest.raises(ConfigError) as refused:
        arguments.parse_all([f"x={value}"])
    assert why in str(refused.value)


def test_an_argument_given_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="--arg x is given twice"):
        arguments.parse_all(["x=1", "y=2", "x=3"])


@pytest.mark.parametrize("local", [["--local"], []])
def test_the_command_refuses_on_both_sides(local: list[str], tmp_path: Path) -> None:
    job = tmp_path / "job.py"
    job.write_text(HEAD + "def job(inputs, x):\n    return x\n")
    with pytest.raises(ConfigError, match="NaN is no number in JSON"):
        app(["--home", str(tmp_path / "home"), "run", str(job), *local, "--arg", "x=NaN"], standalone_mode=False)
