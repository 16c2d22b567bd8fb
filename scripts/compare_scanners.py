"""Runs picklescan, fickling, modelaudit, hayward and ours over the samples that the tests of the audit are made of.

    python -m venv scanners && scanners/bin/pip install picklescan fickling modelaudit hayward
    python scripts/compare_scanners.py run scanners/bin/python      # minutes; writes fixtures/scanners.json
    python scripts/compare_scanners.py table                        # the table of docs/attacks.md

A sample is what a test wrote before it asked: the tests run once with this file as a plugin, which keeps their folders.
What a sample is (`FAMILIES`) is what its test is about, whatever any scanner says of it. A scanner's answer is its exit
code, with its own defaults: 0 passes, 1 is a finding, anything else is none, and so is no answer in 20 seconds of the
processor's time (or 90 of the clock's, for who waits at a pipe), so that a busy machine changes no answer. Each answer
is given by a process of its own. fickling reads files, not folders: its answer is the worst of its answers.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "fixtures" / "scanners.json"
SECONDS, PATIENCE, MOST_FILES = 20, 90, 400
OURS, OTHERS = "inspector", ("picklescan", "fickling", "modelaudit", "hayward")
# What a family is, whether it should be found, and the tests whose folders are its samples.
FAMILIES: tuple[tuple[str, bool, str], ...] = (
    ("pickles that run code when they are loaded", True, """
        test_a_pickle_that_imports_code_is_an_error test_code_is_found_wherever_it_hides test_code_in_a_tar
        test_a_pickle_under_a_model_name_is_looked_into test_padding_does_not_hide_code
        test_code_before_the_break_is_still_found test_code_is_found_wherever_in_a_pickle_it_hides
        test_a_frame_that_hides_a_name_from_other_readers test_code_behind_the_arrays_of_joblib_is_found
        test_an_array_that_is_code_to_another_reader_is_found"""),
    ("NumPy arrays of objects", True, "test_arrays_of_objects_are_found_however_their_type_is_spelt"),
    ("pickles that ask for all memory or time", True, "test_code::test_bombs_are_found_in_bounded_time"),
    ("archives with code in archives, unlisted, or paths that lead out", True, """
        test_code_that_is_not_listed_is_found test_archives_are_looked_into_however_they_nest
        test_paths_that_lead_out_of_an_archive_are_an_error test_files_in_any_folder_and_number_are_looked_into
        test_no_folder_is_left_out"""),
    ("Keras, ONNX and SavedModel graphs that run code or read files", True, """
        test_keras_models_that_are_code_are_an_error test_code_is_found_behind_escapes_and_megabytes
        test_tensors_of_onnx_that_lie_outside_are_an_error test_operations_that_act_are_an_error
        test_layers_of_a_saved_model_are_read"""),
    ("R objects that run code when they are looked at or called", True, """
        test_what_r_runs_is_an_error test_code_that_r_wrote_is_an_error
        test_r_objects_are_found_under_any_name_and_packed"""),
    ("HDF5 and Keras files that take other files for their data", True, """
        test_links_to_other_files_and_data_in_them_are_an_error
        test_the_same_is_found_in_a_keras_archive_and_packed"""),
    ("pickles that run code inside files of other formats", True, """
        test_pickles_inside_other_formats_are_found test_a_pickle_anywhere_in_a_large_file_is_found
        test_an_import_directly_behind_another_hides_neither test_a_packed_file_is_searched_as_it_unpacks"""),
    ("chat templates that reach Python", True, """
        test_a_template_that_reaches_python_is_an_error test_every_place_of_a_folder_is_looked_at
        test_every_place_of_a_gguf_is_looked_at"""),
    ("indexes and links that lead out of the folder", True, """
        test_an_index_that_names_a_path_outside_is_an_error_and_nothing_is_opened
        test_a_link_that_leaves_the_folder_is_found_and_not_followed"""),
    ("not what the name says: pages, pointers, zeros, pipes", True,
     "test_a_fault_is_found_whether_file_or_folder_is_named test_something_else_under_a_models_name_is_no_checkpoint"),
    ("broken safetensors (refused by safe_open, most of them)", True,
     "test_a_fault_is_found_under_its_code_as_safe_open_judges_it"),
    ("broken GGUF (refused by llama.cpp, most of them)", True, "test_a_fault_is_found_under_its_code"),
    ("GGUF of sound structure that llama.cpp refuses", True,
     "test_what_llama_cpp_refuses_is_one_error_with_its_own_words"),
    ("honest pickles, checkpoints and arrays", False, """
        test_honest_pickles_are_an_info_and_no_more test_honest_checkpoints_of_pytorch_are_an_info_and_no_more
        test_training_state_is_an_info test_an_archive_as_pytorch_writes_it_is_sound test_arrays_of_numbers_are_silent
        test_frames_as_python_writes_them_are_sound test_shared_values_are_no_bomb fixtures/pickles"""),
    ("honest Keras, ONNX and SavedModel graphs", False, """
        test_honest_keras_models_are_silent test_tensors_of_onnx_beside_it_are_silent
        test_honest_saved_models_are_silent"""),
    ("honest R objects and HDF5 files", False, """
        test_what_r_only_keeps_is_silent test_data_that_r_wrote_is_silent
        test_groups_of_every_layout_that_stay_in_their_file_are_silent"""),
    ("honest GGUF and safetensors files and folders", False, """
        test_what_is_sound_has_no_finding test_what_is_sound_has_no_finding_and_loads
        test_what_llama_cpp_loads_has_no_finding test_honest_templates_are_silent
        test_what_honest_repositories_hold_is_silent test_tied_embeddings_have_no_head
        test_a_sentence_transformers_folder test_a_diffusers_pipeline test_an_adapter_has_no_base_beside_it
        test_several_quants_of_one_model_in_a_folder test_packed_tensors_have_other_shapes_than_the_config
        test_code_like_words_in_a_vocabulary test_namespaces_and_code_like_words_in_a_template"""),
)  # fmt: skip
FAMILY_OF = {test: i for i, (_, _, tests) in enumerate(FAMILIES) for test in tests.split()}


def pytest_runtest_teardown(item: Any) -> None:
    """As a plugin of pytest: keeps what a test of a family wrote."""
    module = item.module.__name__.rpartition(".")[2]
    family = FAMILY_OF.get(f"{module}::{item.originalname}", FAMILY_OF.get(item.originalname))
    out = os.environ.get("SAMPLES")
    folder = item.funcargs.get("tmp_path")
    if not out or family is None or folder is None or not any(folder.iterdir()):
        return
    n = len(os.listdir(out))
    shutil.copytree(folder, Path(out) / f"{family:02d}-{n:04d}", symlinks=True, copy_function=_copy)


def _copy(source: str, target: str) -> None:
    if os.path.isfile(source):
        shutil.copy(source, target)
    else:
        os.mkfifo(target)


def collect(out: Path) -> None:
    """The samples, a folder each, named by family and number."""
    env = os.environ | {"SAMPLES": str(out), "PYTHONPATH": os.pathsep.join(
        [str(ROOT / "scripts"), str(ROOT), os.environ.get("PYTHONPATH", "")])}  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "compare_scanners",
        "-p",
        "no:xdist",
        "-p",
        "no:cacheprovider",
    ]
    wanted = " or ".join(name.rpartition("::")[2] for name in FAMILY_OF if name.startswith("test_"))
    subprocess.run([*command, "-k", wanted, "tests/audit"], cwd=ROOT, env=env, check=False, stdout=subprocess.DEVNULL)
    for path in sorted((ROOT / "fixtures" / "pickles").iterdir()):
        if path.suffix != ".txt":
            target = out / f"{FAMILY_OF['fixtures/pickles']:02d}-{len(os.listdir(out)):04d}"
            target.mkdir()
            shutil.copy(path, target)


# --- asking ----------------------------------------------------------------------------------------------------------


def _main_of(tool: str) -> Callable[[Path], object]:
    """A scanner's own command, imported once: a sample's folder → exit code."""
    if tool == OURS:
        from inspector.cli.group import run_command_line

        return lambda folder: run_command_line(["audit", str(folder)])
    if tool == "picklescan":
        from picklescan.cli import main as picklescan

        return lambda folder: _with_argv(picklescan, ["picklescan", "-p", str(folder)])
    if tool == "fickling":
        from fickling.cli import main as fickling

        return lambda folder: _worst(fickling(["fickling", "--check-safety", str(p)]) for p in _files(folder))
    if tool == "hayward":
        from hayward.cli import main as hayward

        return lambda folder: hayward(["scan", str(folder)])
    from modelaudit.cli import main as modelaudit

    return lambda folder: _with_argv(modelaudit, ["modelaudit", "scan", "--no-cache", "--quiet", str(folder)])


def _files(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.rglob("*")) if p.is_file()][:MOST_FILES]


def _worst(codes: Any) -> int:
    """1 where any file is found unsafe, else 0 where any could be read."""
    seen = set(codes)
    return 1 if 1 in seen else 0 if 0 in seen else 2


def _with_argv(main: Callable[[], object], argv: list[str]) -> object:
    sys.argv = argv
    return main()


def ask(tool: str, samples: Path) -> dict[str, str]:
    """Sample → "found", "passed" or "none"."""
    main = _main_of(tool)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.pkl").write_bytes(b"\x80\x04N.")
        _in_child(main, Path(folder))  # what a scanner caches on disk
        _quietly(main, Path(folder))  # and what it imports when it is first asked
    return {folder.name: _ask_one(main, folder) for folder in sorted(samples.iterdir())}


def _ask_one(main: Callable[[Path], object], folder: Path) -> str:
    return {0: "passed", 1: "found"}.get(_in_child(main, folder), "none")


def _in_child(main: Callable[[Path], object], folder: Path) -> int:
    """One answer, in a fork: a crash or a bomb is no end of the comparison."""
    import resource
    import signal

    child = os.fork()
    if not child:
        signal.alarm(PATIENCE)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
        os._exit(_quietly(main, folder))
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _quietly(main: Callable[[Path], object], folder: Path) -> int:
    """A scanner's exit code, whatever way it ends by; what it prints goes nowhere."""
    kept, null = [os.dup(i) for i in (1, 2)], os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(null, stream)
    try:
        code = main(folder)
    except SystemExit as end:
        code = end.code
    except BaseException:
        code = 99
    sys.stdout.flush()
    for stream, copy in zip((1, 2), kept, strict=True):
        os.dup2(copy, stream)
    return code if isinstance(code, int) else 0 if code is None else 99


def run(python: str) -> None:
    """Collects, asks everybody, and keeps counts by family."""
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder) / "samples"
        samples.mkdir()
        collect(samples)
        answers = {}
        for tool in (OURS, *OTHERS):
            who = sys.executable if tool == OURS else python
            env = os.environ | {"PROMPTFOO_DISABLE_TELEMETRY": "1", "NO_ANALYTICS": "1", "HF_HUB_OFFLINE": "1",
                                "HOME": folder, "SAMPLES": ""}  # fmt: skip
            if tool != OURS:
                env.pop("PYTHONPATH", None)
            command = [who, str(Path(__file__).resolve()), "ask", tool, str(samples)]
            done = subprocess.run(command, env=env, cwd=folder, capture_output=True, check=True)
            answers[tool] = json.loads(done.stdout)
            print(tool, len(answers[tool]), file=sys.stderr)
        versions = subprocess.run([python, "-m", "pip", "list", "--format", "json"], capture_output=True, check=True)
    known = {p["name"]: p["version"] for p in json.loads(versions.stdout)}
    rows = [_row(i, answers) for i in range(len(FAMILIES))]
    body = {"versions": {t: known[t] for t in OTHERS}, "families": rows}
    RESULTS.write_text(json.dumps(body, indent=1) + "\n")


def _row(family: int, answers: dict[str, dict[str, str]]) -> dict[str, Any]:
    """How many samples of a family there are, and how many answers of each kind every scanner gave."""
    names = [n for n in answers[OURS] if n.startswith(f"{family:02d}-")]
    counts = {t: {k: sum(found[n] == k for n in names) for k in ("found", "none")} for t, found in answers.items()}
    return {"what": FAMILIES[family][0], "bad": FAMILIES[family][1], "n": len(names), "answers": counts}


def table() -> None:
    """The table of docs/attacks.md."""
    body = json.loads(RESULTS.read_text())
    tools = (OURS, *OTHERS)
    heads = [OURS, *(f"{t} {body['versions'][t]}" for t in OTHERS)]
    print("| Samples | n | " + " | ".join(heads) + " |")
    print("|---|---:|" + "---:|" * len(tools))
    for bad in (True, False):
        print(f"| **{'to be found: how many were' if bad else 'to be passed: how many were found fault with'}** "
              + "| " * (len(tools) + 1) + "|")  # fmt: skip
        rows = [row for row in body["families"] if row["bad"] is bad]
        for row in rows:
            cells = [_cell(row["answers"][t]) for t in tools]
            print(f"| {row['what']} | {row['n']} | " + " | ".join(cells) + " |")


def _cell(counts: dict[str, int]) -> str:
    return f"{counts['found']}" + (f" ({counts['none']} without an answer)" if counts["none"] else "")


def main() -> None:
    command = sys.argv[1] if len(sys.argv) > 1 else "table"
    if command == "run":
        run(sys.argv[2])
    elif command == "ask":
        out = os.dup(1)
        answers = ask(sys.argv[2], Path(sys.argv[3]))
        os.write(out, json.dumps(answers).encode())
    else:
        table()


if __name__ == "__main__":
    main()
