"""The page in Chromium: its figures are the command line's, its controls work by keyboard, and it reaches for nothing.

Debian's own browser (`apt-get install chromium chromium-driver`); without one, these tests are skipped and say so.
"""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil

import gguf_builder as g
import pytest
from hub_server import HubServer, quick_hub  # noqa: F401 - a fixture

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> it's.gguf"
WIDTHS = (390, 1280)
# every setting of every engine: the command line that the page says, and the figures that it shows
EVERY = """
const want = arguments[0], found = [];
for (const hash of want) {
  restore(hash); draw();
  const t = document.getElementById("parts");
  found.push({
    command: document.getElementById("command").textContent, verdict: document.getElementById("verdict").textContent,
    total: Number(t.dataset.total), fits: t.dataset.fits,
    parts: Object.fromEntries([...t.querySelectorAll("tr[data-part]")].map(
      r => [r.dataset.part, Number(r.lastChild.textContent.replaceAll(",", ""))])),
    used: [...document.querySelectorAll("#bars p")].map(p => Number(p.dataset.used)),
  });
}
return found;
"""


@pytest.fixture(scope="module")
def browser():
    program = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if not program or not driver:
        why = "no chromium with chromedriver: apt-get install chromium chromium-driver"
        if os.environ.get("INSPECTOR_BROWSER") == "required":
            pytest.fail(why)
        pytest.skip(why)
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is in the test group: it drives the browser")
    os.environ["SE_OFFLINE"] = "true"  # selenium looks for no driver of its own
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield found
    found.quit()


@pytest.fixture(scope="module")
def pages(run_inspector, sparse_model, root, tmp_path_factory):
    """Pages by name: two GGUF models, one of them under a hostile name, and a checkpoint's config."""
    folder = tmp_path_factory.mktemp("pages")
    hostile = folder / HOSTILE.replace("/", "\u2215")
    shutil.copyfile(root / "fixtures/files/gguf/tiny-llama-q8_0.gguf", hostile)
    targets = {
        "llama": sparse_model("llama-3-8b"), "config": root / "fixtures/configs/qwen3-8b.json", "hostile": hostile
    }  # fmt: skip
    for name, target in targets.items():
        made = run_inspector(["report", str(target), "-o", str(folder / f"{name}.html")], timeout=120)
        assert made[0] == 0, made[2]
        assert (folder / f"{name}.html").stat().st_size < 3_000_000
    return {name: (folder / f"{name}.html").as_uri() for name in targets}


def view(browser, address, width=1280, height=900):
    settings = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", settings)
    browser.get("about:blank")
    browser.get(address)


def text(browser, name):
    return browser.find_element("id", name).text


def choose(browser, name, value):
    browser.execute_script(
        "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
        "e.dispatchEvent(new Event('input', {bubbles: true}))", name, value,
    )  # fmt: skip


def asked_of_the_command_line(words):
    """The answer of `inspector memory … --json`, in this process."""
    import contextlib
    import io

    from inspector.__main__ import run

    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = run([*words, "--json"])
    return code, json.loads(out.getvalue()) if out.getvalue() else None, err.getvalue()


def some_settings(browser, n, seed):
    """Links to settings drawn at random from all that the page holds."""
    engines = browser.execute_script(
        "return D.engines.map(e => ({name: e.name, models: e.models.map(m => m.label), cards: e.cards.map(c => c[0]),"
        "places: e.places, kv: e.kv, seqs: e.seqs, contexts: e.contexts}))"
    )
    chosen = random.Random(seed)
    found = []
    for i in range(n):
        e = engines[i % len(engines)]
        (cards, layers), (k, v) = chosen.choice(e["places"]), chosen.choice(e["kv"])
        settings = {
            "engine": e["name"], "model": chosen.choice(e["models"]), "card": chosen.choice(e["cards"]), "n": cards,
            "ngl": "all" if layers is None else layers, "k": k, "v": v, "np": chosen.choice(e["seqs"]) or 1,
            "ctx": chosen.choice(e["contexts"]),
        }  # fmt: skip
        from urllib.parse import urlencode

        found.append("#" + urlencode(settings))
    return found


@pytest.mark.parametrize(("name", "n"), [("llama", 120), ("config", 140)])
def test_every_figure_is_the_command_lines_own(browser, pages, name, n):
    view(browser, pages[name])
    seen = set()
    for shown in browser.execute_script(EVERY, some_settings(browser, n, seed=name)):
        words = shlex.split(shown["command"])
        assert words[:2] == ["inspector", "memory"]
        code, answer, said = asked_of_the_command_line(words[1:])
        seen.add(shown["command"])
        if answer is None:
            assert code == 2, said
            assert "refuses" in shown["verdict"]
            continue
        sums = {}
        for line in answer["lines"]:
            sums[line["what"]] = sums.get(line["what"], 0) + line["nbytes"]
        assert shown["parts"] == {what: n for what, n in sums.items() if n}, shown["command"]
        assert shown["total"] == answer["total_nbytes"], shown["command"]
        assert shown["fits"] == {True: "true", False: "false", None: "null"}[answer["fits"]], shown["command"]
        used = [d["used"] for d in answer["devices"]] or [answer["total_nbytes"]]
        assert sorted(shown["used"]) == sorted(used), shown["command"]
    assert len(seen) >= n * 0.8


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["llama", "config", "hostile"])
def test_nothing_is_cut_off_or_wrong_at_any_width(browser, pages, root, name, width):
    view(browser, pages[name], width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    height = browser.execute_script("return document.documentElement.scrollHeight")
    folder = root / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    view(browser, pages[name], width, min(height, 4000))
    browser.save_screenshot(str(folder / f"report-{name}-{width}.png"))
    assert [e for e in browser.get_log("browser") if e["level"] in {"SEVERE", "WARNING"}] == []


def test_no_barrier_that_axe_finds(browser, pages):
    axe = pytest.importorskip("axe_core_python")
    with open(os.path.join(os.path.dirname(axe.__file__), "axe.min.js"), encoding="utf-8") as file:
        rules = file.read()
    for name, scheme in (("llama", "light"), ("llama", "dark"), ("config", "light")):
        feature = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": feature})
        view(browser, pages[name])
        browser.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
        browser.execute_script(rules)
        found = browser.execute_async_script(
            "const done = arguments[0]; axe.run().then(r => done(r.violations.map(v => [v.id, v.impact])))"
        )
        assert [v for v in found if v[1] in {"serious", "critical"}] == []
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_nothing_is_asked_of_any_network(browser, pages):
    browser.get_log("performance")
    view(browser, pages["hostile"])
    messages = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
    asked = {m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"}
    assert {a for a in asked if not a.startswith(("file:", "about:"))} == set()
    assert len({a for a in asked if a.startswith("file:")}) <= 1


def test_a_hostile_name_stays_words(browser, pages):
    view(browser, pages["hostile"])
    assert "<script>alert(1)" in text(browser, "command")
    assert "<img src=x" in browser.find_element("tag name", "h1").text
    assert browser.find_elements("tag name", "img") == []
    target = shlex.split(text(browser, "command"))[2]
    assert os.path.exists(target)


def test_the_answer_comes_first_and_follows_every_control(browser, pages):
    view(browser, pages["llama"])
    first = text(browser, "verdict")
    assert first.startswith("✔ fits 24 GiB card:")
    seen = {first + text(browser, "settings")}
    for name, value in (
        ("card", 1), ("ngl", "8"), ("ctx", "7"), ("np", "4"), ("k", "q8_0"), ("v", "q4_0"), ("ngl", "all"), ("n", "2"),
        ("n", "0"), ("n", "1"), ("model", "1"), ("engine", "1"),
    ):  # fmt: skip
        choose(browser, name, value)
        answer = text(browser, "verdict") + text(browser, "settings")
        assert answer not in seen or name == "n", (name, value)
        seen.add(answer)
    assert "does not fit" in " ".join(seen)


def test_the_longest_context_that_fits_is_said_and_drawn(browser, pages):
    view(browser, pages["llama"] + "#engine=llama.cpp&card=6GiB&n=1&ngl=all&np=1&k=f16&v=f16&ctx=8192")
    note = text(browser, "plot-note")
    assert "is the longest that fits" in note
    assert len(browser.find_elements("css selector", "#plot .cross")) == 1
    fits = browser.execute_script(
        "return [...document.querySelectorAll('#plot-table tbody tr')]"
        ".map(r => [r.cells[0].textContent, r.cells[4].textContent])"
    )
    longest = [context for context, yes in fits if yes == "yes"][-1]
    assert f"{longest} tokens is the longest" in note


def test_a_link_brings_the_settings_back(browser, pages):
    view(browser, pages["llama"])
    choose(browser, "card", 1)
    choose(browser, "ctx", "2")
    choose(browser, "k", "q8_0")
    choose(browser, "ngl", "8")
    link = browser.find_element("id", "share").get_attribute("href")
    before = text(browser, "verdict"), text(browser, "settings"), text(browser, "command")
    assert browser.current_url == link
    view(browser, link)
    assert (text(browser, "verdict"), text(browser, "settings"), text(browser, "command")) == before
    view(browser, pages["llama"] + "#engine=none&ctx=-1&card=<b>&k=%00&n=99&m=x")
    assert text(browser, "verdict").startswith("✔ fits")


def test_tensors_are_sorted_and_searched_by_keyboard(browser, pages):
    from selenium.webdriver.common.keys import Keys

    view(browser, pages["llama"])
    head = browser.find_elements("css selector", "#list th button")
    head[4].send_keys(Keys.ENTER)
    column = (
        "return [...document.querySelectorAll('#list tbody tr')].map(r => +r.cells[4].textContent.replaceAll(',', ''))"
    )
    sizes = browser.execute_script(column)
    assert sizes == sorted(sizes)
    assert browser.find_elements("css selector", "#list th")[4].get_attribute("aria-sort") == "ascending"
    head[4].send_keys(Keys.SPACE)
    sizes = browser.execute_script(column)
    assert sizes == sorted(sizes, reverse=True)
    assert browser.execute_script("return document.activeElement.textContent") == "bytes"
    browser.find_element("id", "find").send_keys("BLK.7.")
    names = browser.execute_script("return [...document.querySelectorAll('#list tbody th')].map(c => c.textContent)")
    assert names
    assert all(name.startswith("blk.7.") for name in names)
    assert text(browser, "count") == f"{len(names)} tensors"


def test_the_slider_moves_by_keys_and_says_its_tokens(browser, pages):
    from selenium.webdriver.common.keys import Keys

    view(browser, pages["llama"])
    slider = browser.find_element("id", "ctx")
    slider.send_keys(Keys.HOME)
    assert slider.get_attribute("aria-valuetext").startswith("512 tokens")
    slider.send_keys(Keys.ARROW_RIGHT)
    assert text(browser, "ctx-out").startswith("1,024 tokens")


def test_pictures_have_words_and_tables(browser, pages):
    view(browser, pages["config"])
    for name in ("plot", "layers"):
        picture = browser.find_element("id", name)
        ids = picture.get_attribute("aria-labelledby").split()
        words = [browser.execute_script("return document.getElementById(arguments[0]).textContent", i) for i in ids]
        assert all(words)
        rows = browser.execute_script(f"return document.querySelectorAll('#{name}-table tbody tr').length")
        assert rows > 5


def llama(tensor_type, *, n_layers=2):
    """A small LLaMA whose matrices are of one type: as GGUF, complete enough for llama.cpp's graph."""
    keys = {
        "block_count": n_layers, "context_length": 2048, "embedding_length": 256, "feed_forward_length": 512,
        "attention.head_count": 4, "attention.head_count_kv": 2, "rope.dimension_count": 64,
    }  # fmt: skip
    pairs = [("general.architecture", g.STR, "llama"), *((f"llama.{k}", g.U32, v) for k, v in keys.items())]
    pairs += [("llama.attention.layer_norm_rms_epsilon", g.F32, 1e-5), ("tokenizer.ggml.model", g.STR, "llama")]
    pairs.append(("tokenizer.ggml.tokens", g.ARR, g.Arr(g.STR, [b"t%d" % i for i in range(512)])))
    matrices = {
        "attn_q": (256, 256), "attn_k": (256, 128), "attn_v": (256, 128), "attn_output": (256, 256),
        "ffn_gate": (256, 512), "ffn_up": (256, 512), "ffn_down": (512, 256),
    }  # fmt: skip
    tensors = [g.Tensor(f"{name}.weight", (256, 512), tensor_type) for name in ("token_embd", "output")]
    tensors.append(g.Tensor("output_norm.weight", (256,)))
    for i in range(n_layers):
        tensors += [g.Tensor(f"blk.{i}.{name}.weight", dims, tensor_type) for name, dims in matrices.items()]
        tensors += [g.Tensor(f"blk.{i}.{name}.weight", (256,)) for name in ("attn_norm", "ffn_norm")]
    return g.build(pairs, tensors)


@pytest.fixture
def hub_page(run_inspector, tmp_path, monkeypatch, quick_hub):  # noqa: F811 - the Hub that this process asks
    """The page of a repository of four quants, while its Hub still answers."""
    types = {"F16": 1, "Q8_0": 8, "Q5_0": 6, "Q4_0": 2}
    files = {f"small-{quant}.gguf": llama(number) for quant, number in types.items()}
    with HubServer({**files, "README.md": b"# small"}) as hub:
        made = run_inspector(
            ["report", "org/model", "-o", str(tmp_path / "hub.html")], env={"HF_ENDPOINT": hub.endpoint}
        )
        assert made[0] == 0, made[2]
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
        yield (tmp_path / "hub.html").as_uri(), list(types)


def test_a_repositorys_page_chooses_among_its_quants_and_says_what_the_command_line_says(browser, hub_page):
    address, quants = hub_page
    view(browser, address)
    labels = [option.text for option in browser.find_elements("css selector", "#model option")]
    assert labels == quants, "the largest first"
    totals = {}
    for i, quant in enumerate(quants):
        choose(browser, "model", str(i))
        (shown,) = browser.execute_script(EVERY, [browser.execute_script("return location.hash")])
        words = shlex.split(shown["command"])
        assert words[2] == f"org/model/small-{quant}.gguf"
        _, answer, said = asked_of_the_command_line(words[1:])
        assert answer is not None, said
        totals[quant] = answer["total_nbytes"]
        assert (shown["total"], shown["fits"]) == (answer["total_nbytes"], str(answer["fits"]).lower())
        assert text(browser, "settings").startswith(f"{quant} · llama.cpp")
    assert sorted(totals, key=totals.get, reverse=True) == quants
    assert [e for e in browser.get_log("browser") if e["level"] in {"SEVERE", "WARNING"}] == []


def test_every_setting_of_a_repositorys_page_is_the_command_lines(browser, hub_page):
    address, quants = hub_page
    view(browser, address)
    seen = set()
    for shown in browser.execute_script(EVERY, some_settings(browser, 24, seed="hub")):
        code, answer, said = asked_of_the_command_line(shlex.split(shown["command"])[1:])
        if answer is None:
            assert code == 2, said
            continue
        seen.add(shlex.split(shown["command"])[2])
        assert shown["total"] == answer["total_nbytes"], shown["command"]
    assert seen == {f"org/model/small-{quant}.gguf" for quant in quants}
