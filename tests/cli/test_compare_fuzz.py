"""Logs that are damaged, invented or hostile: an answer or one line of error, never a traceback."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stderr, redirect_stdout

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from startup_logs import NEW, OLD, VLLM

from inspector.cli.group import run_command_line

LINES = [line for text in (NEW, OLD, VLLM) for line in text.splitlines()]
NUMBERS = ["0", "-1", "1", "999999999", "99999999999999999999999", "1e309", "nan", "0.0000", "٣", "²", "", "0x10",
           "4096.5"]  # fmt: skip
WORDS = ["on", "off", "auto", "true", "q4_0", "q8_0", "f8", "none", "CUDA0", "CUDA99", "CPU", "Vulkan0", "RPC0[h:1]",
         "../../x", "\x1b[2J", "\u202e", "\0", "%s", "{}", "a" * 300]  # fmt: skip
NUMBER = re.compile(r"\d+(?:\.\d+)?")
WORD = re.compile(r"\b(?:auto|true|f16|CUDA0|CUDA_Host|CPU_Mapped|bfloat16|None|model|KV|compute)\b")


@st.composite
def damaged_lines(draw):
    """A real line with some of its numbers and words replaced, cut, or doubled."""
    line = draw(st.sampled_from(LINES))
    line = NUMBER.sub(lambda m: draw(st.sampled_from([m[0], m[0], m[0], *NUMBERS])), line)
    line = WORD.sub(lambda m: draw(st.sampled_from([m[0], m[0], *WORDS])), line)
    cut = draw(st.integers(0, 4))
    return line[: len(line) // 2] if cut == 0 else line * 2 if cut == 1 else line


def changed(text: str, places: list[tuple[int, str]]) -> str:
    """A log with lines of it replaced, which keeps most of what makes it one."""
    lines = text.splitlines()
    for at, line in places:
        lines[at % len(lines)] = line
    return "\n".join(lines)


WHOLE = st.builds(
    changed, st.sampled_from([NEW, OLD, VLLM]),
    st.lists(st.tuples(st.integers(0, 99), damaged_lines() | st.text(max_size=60)), max_size=4),
)  # fmt: skip
PARTS = st.lists(damaged_lines(), max_size=20).map("\n".join)
BYTES = st.binary(max_size=300) | (WHOLE | PARTS).map(lambda text: text.encode("utf-8", "surrogatepass"))


def answer(words: list[str]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run_command_line(words)
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("logs") / "start.log"


SLOW = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)


@settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
@given(data=BYTES, config=st.booleans())
def test_any_log_is_an_answer_or_one_line_of_error(place, root, sparse_model, data, config):
    place.write_bytes(data)
    target = root / "fixtures/configs/llama-3-8b.json" if config else sparse_model("llama-3.2-1b")
    code, out, err = answer(["compare", str(place), str(target)])
    assert code in {0, 1, 2}
    assert "Traceback" not in out + err
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", out + err)
    if code == 2:
        assert out == ""
        assert err.startswith("error: ")
        assert len(err.splitlines()) <= 2


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(within=st.text(max_size=12) | st.sampled_from([*NUMBERS, "nan%", "inf", "-0", "5 %", "100%", "100.0001"]))
def test_within_is_a_share_or_a_usage_error(place, sparse_model, within):
    place.write_text(NEW)
    code, out, err = answer(["compare", str(place), str(sparse_model("llama-3.2-1b")), f"--within={within}"])
    assert code in {0, 2}
    assert (code == 2) == (out == "")
    assert "Traceback" not in out + err


@pytest.mark.parametrize(
    ("printed", "within", "code"),
    [("256.00", "0", 0), ("256.00", "100", 0), ("258.56", "1", 0), ("258.60", "1", 1), ("253.47", "1", 0),
     ("253.00", "1.2", 0), ("253.00", "1.1", 1), ("512.00", "50", 0), ("0.00", "100", 0), ("0.00", "99", 1)],
)  # fmt: skip
def test_within_is_a_share_of_what_the_engine_printed(place, sparse_model, printed, within, code):
    """Ours is 256 MiB of cache."""
    place.write_text(NEW.replace("KV buffer size =   256.00", f"KV buffer size =   {printed}"))
    assert answer(["compare", str(place), str(sparse_model("llama-3.2-1b")), "--within", within])[0] == code
