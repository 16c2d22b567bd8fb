"""The answer stands first, figures are whole at every width, and what is not known or about right is said to be."""

from __future__ import annotations

import re

import pytest

from inspector.facts import ModelFacts
from inspector.memory.estimate import Device, Estimate, Line, Workload
from inspector.memory.longest import Longest
from inspector.report.look import Look
from inspector.report.memory_text import answer_lines, headline, plain_table, rest_lines
from inspector.report.names import device_name, device_names, model_name
from inspector.report.picture import groups_of
from inspector.report.text import columns
from inspector.units import GIB, MIB

FIGURE = re.compile(r"\d[\d,.]* (?:B|KiB|MiB|GiB|TiB|%)|\d{1,3}(?:,\d{3})+")
WIDTHS = (40, 60, 80, 100, 200)
LINES = (
    Line("weights", 300 * MIB, "exact", "1 tensor"),
    Line("weights", 4 * GIB, "exact", "290 tensors", "RTX 3090"),
    Line("kv_cache", 1 * GIB, "derived", "32 layers", "RTX 3090", "all tokens"),
    Line("compute", 290 * MIB, "derived", "worst-case graph", "RTX 3090"),
    Line("overhead", 472 * MIB, "modelled", "CUDA context", "RTX 3090", "context"),
)


def estimate(lines=LINES, *, gpus=("RTX 3090",), capacity=24 * GIB, reserve=GIB, unknown=(), **more):
    used = {d: sum(x.nbytes for x in lines if x.device == d) for d in ("host", *gpus)}
    devices = [Device("host", None, used["host"], None)]
    for gpu in gpus:
        fits = used[gpu] <= capacity - reserve
        devices.append(Device(gpu, capacity, used[gpu], fits if not (fits and unknown) else None, reserve, "cuda"))
    effective = {"n_ctx": 8192, "n_seqs": 1, "type_k": "f16", "type_v": "f16"}
    return Estimate("llama.cpp", Workload(), effective, tuple(lines), tuple(devices), unknown=unknown, **more)


def facts():
    return ModelFacts(
        arch="llama", format="gguf", n_params=None, n_params_active=None, n_layers=32, d_model=None, d_ff=None,
        n_heads=None, n_kv_heads=None, head_dim_k=None, head_dim_v=None, vocab_size=None, n_ctx_train=8192, layers=(),
        origin={},
    )  # fmt: skip


def text(result, look=None, *, verbose=False, longest=None, target="models/Llama-3-8B-Q4_K_M.gguf"):
    look = look or Look(100, "blocks")
    lines = answer_lines(target, result, look=look, verbose=verbose)
    return lines + rest_lines(facts(), result, look=look, verbose=verbose, longest=longest)


def test_the_first_two_lines_are_the_question_and_the_answer():
    first, second = text(estimate())[:2]
    assert first == "Llama-3-8B-Q4_K_M · llama.cpp · 8,192 tokens · f16 cache"
    assert second == "✔ fits RTX 3090   ≈ 5.74 of 23.00 GiB usable   17.26 GiB spare"


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (estimate(capacity=6 * GIB), "✘ does not fit RTX 3090   ≈ 5.74 of 5.00 GiB usable   762.00 MiB too much"),
        (estimate(unknown=("vision",)), "? may fit RTX 3090   ≥ 5.74 of 23.00 GiB usable   ≤ 17.26 GiB spare"),
        (estimate(LINES[1:4]), "✔ fits RTX 3090   5.28 of 23.00 GiB usable   17.72 GiB spare"),
        (estimate(LINES[:1], gpus=()), "300.00 MiB in host memory"),
        (estimate(LINES[:1], gpus=(), unknown=("weights",)), "≥ 300.00 MiB in host memory"),
        (estimate(LINES[:1]).replace(devices=()), "300.00 MiB in all"),
    ],
)
def test_the_verdict_by_what_is_known(result, says):
    assert text(result)[1] == says


def of_two(first=1, second=2):
    lines = [
        x.replace(device=f"RTX 3090 #{i}", nbytes=x.nbytes * n) for i, n in ((0, first), (1, second)) for x in LINES
    ]
    return estimate(lines, gpus=("RTX 3090 #0", "RTX 3090 #1"))


def test_several_cards_have_a_bar_each_and_the_fullest_is_named():
    lines = text(of_two())
    assert lines[1] == "✔ fits 2 × RTX 3090   ≈ 18.11 of 46.00 GiB usable   10.93 GiB spare on RTX 3090 #1"
    assert [line.split("█")[0].split()[:3] for line in lines if "█" in line] == [
        ["RTX", "3090", "#0"], ["RTX", "3090", "#1"],
    ]  # fmt: skip


def test_cards_that_hold_the_same_are_one_picture():
    result = of_two(1, 1)
    assert [(g.kind, g.name, g.n) for g in groups_of(result)] == [("each RTX 3090", "RTX 3090 #0–1, each", 2)]
    assert "16.96 GiB spare on each" in text(result)[1]


def test_what_does_not_fit_names_each_card_and_by_how_much():
    assert text(of_two(1, 5))[1].endswith("   7.19 GiB too much, RTX 3090 #1")


def test_a_part_is_drawn_to_the_scale_of_its_card():
    lines = text(estimate(), Look(100, "ascii"))
    track = next(line for line in lines if line.startswith("  RTX 3090"))
    length = track.count("#") + track.count(".") - 1  # one in its figure
    weights = next(line for line in lines if line.startswith("  weights"))
    assert abs(weights.count("#") - length * 4 / 23) <= 1


def test_modelled_figures_are_marked_and_every_part_has_its_grade():
    parts = {
        line.split()[0]: line
        for line in text(estimate())
        if line.split()[-1:] in (["exact"], ["derived"], ["modelled"])
    }
    assert set(parts) == {"weights", "KV", "compute", "overhead"}
    assert parts["overhead"].split()[1:3] == ["≈", "472.00"]
    assert "≈" not in parts["weights"]


@pytest.mark.parametrize("bars", ["blocks", "ascii"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "result",
    [estimate(), estimate(capacity=6 * GIB), of_two(), of_two(1, 1), estimate(LINES[:1], gpus=()),
     estimate(unknown=("the vision tower's weights: none of its tensors were read",))],
)  # fmt: skip
def test_no_line_is_wider_than_the_terminal_and_no_figure_is_cut(result, width, bars):
    longest = Longest(131072, capped=True)
    narrow, wide = (text(result, Look(n, bars), longest=longest, target="a/" + "very-long-name-" * 8 + "Q4_K_M.gguf")
                    for n in (width, 400))  # fmt: skip
    assert [line for line in narrow if columns(line) > width] == []
    assert sorted(FIGURE.findall(" ".join(narrow))) == sorted(FIGURE.findall(" ".join(wide)))
    assert "Q4_K_M" in narrow[0]


def test_a_pipe_gets_one_table_without_bars():
    lines = text(estimate(), Look(100))
    assert not any(c in "".join(lines) for c in "█░#\x1b")
    rows = [line.split() for line in lines[4:9]]
    assert [row[-1] for row in rows] == ["exact", "exact", "derived", "derived", "modelled"]
    assert lines[9].split() == ["total", f"{estimate().total_nbytes:,}", "≈", "6.04", "GiB", "modelled"]


def test_how_figures_come_about_stands_with_v_only():
    for look in (Look(100), Look(100, "blocks")):
        assert "worst-case graph" not in "\n".join(text(estimate(), look))
        assert "worst-case graph" in "\n".join(text(estimate(), look, verbose=True))
        assert "n_ctx 8,192 · n_seqs 1" in "\n".join(text(estimate(), look, verbose=True))


def test_brief_notes_stand_beside_the_host_and_not_again_as_notes():
    result = estimate(notes=("33 of 33 layers on devices", "other"), brief=("33 of 33 layers on devices",))
    lines = text(result, longest=Longest(9216))
    assert lines[-2:] == [
        "  host memory 300.00 MiB · 33 of 33 layers on devices · largest context that fits: 9,216",
        "  note: other",
    ]


def test_a_host_that_holds_much_says_what():
    lines = [LINES[0].replace(nbytes=2 * GIB), *LINES[1:]]
    assert any("host memory 2.00 GiB (weights 2.00 GiB)" in line for line in text(estimate(lines)))


def test_what_grows_after_load_is_up_to():
    grows = Line("overhead", 0, "modelled", "prompt cache", "RTX 3090", "prompts", peak_nbytes=8 * GIB)
    assert any("up to 8.00 GiB" in line for line in text(estimate([*LINES[:4], grows])))


def test_so_does_the_host_beside_devices():
    grows = Line("overhead", 0, "derived", "prompt cache", "host", "prompts", peak_nbytes=8 * GIB)
    assert "  host memory 300.00 MiB, up to 8.00 GiB more as it runs" in text(estimate([*LINES, grows]))


def test_sequences_and_types_that_differ_are_in_the_headline():
    result = estimate()
    more = result.replace(effective={**result.effective, "n_seqs": 4, "type_k": "q8_0"})
    assert headline("x.gguf", more, width=100) == ["x · llama.cpp · 8,192 tokens · 4 sequences · K q8_0, V f16 cache"]


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("models/Llama-3-8B-Q4_K_M.gguf", "Llama-3-8B-Q4_K_M"), ("Qwen/Qwen3-8B:Q4_K_M", "Qwen/Qwen3-8B:Q4_K_M"),
        (r"C:\models\x.gguf", "x"), ("./Qwen3-8B/", "Qwen3-8B"), ("s3://bucket/dir/m.gguf", "m"), (".", "."),
        ("ollama:llama3:8b", "ollama:llama3:8b"), ("/a/b/config.json", "config"), ("x\x1b[31m.gguf", "x\\x1b[31m"),
    ],
)  # fmt: skip
def test_a_model_is_called_by_its_file_or_its_repository(target, name):
    assert model_name(target) == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [("24.00 GiB", "GPU 24 GiB"), ("6.30 GiB #1", "GPU 6.3 GiB #1"), ("RTX 3090 #0", "RTX 3090 #0"), ("host", "host")],
)
def test_a_size_is_a_device_of_that_size(name, shown):
    assert device_name(name) == shown


def test_devices_alike_are_counted():
    assert device_names(["RTX 3090 #0", "RTX 3090 #1", "24.00 GiB"]) == "2 × RTX 3090 + GPU 24 GiB"


def test_a_range_is_its_safe_end_in_the_picture_and_both_ends_in_the_table():
    result = estimate((LINES[1], Line("compute", 944 * MIB, "modelled", "a range", "RTX 3090", low=322 * MIB)))
    (host, device) = result.devices
    result = result.replace(devices=(host, device.replace(low=device.used - 622 * MIB)))
    shown = "\n".join(text(result, Look(40, "blocks")))
    assert "compute   ≤ 944.00 MiB" in shown
    assert "≤ 4.92 of 23.00 GiB usable" in shown
    assert "≥ 18.08 GiB spare" in shown
    table = "\n".join(plain_table(result, how=False, width=100))
    assert "322.00–944.00 MiB" in table
    assert "4.31–4.92 GiB" in table


def test_what_only_its_lower_end_fits_does_not_fit_and_says_so():
    result = estimate((Line("compute", 26 * GIB, "modelled", "a range", "RTX 3090", low=20 * GIB),))
    (host, device) = result.devices
    shown = "\n".join(text(result.replace(devices=(host, device.replace(low=20 * GIB)))))
    assert "✘ does not fit" in shown
    assert "at the least 20.00 GiB, which would fit" in shown
