r"""Windows' paths, consoles and missing functions, on any system: ntpath's rules, and Python without its POSIX half."""

from __future__ import annotations

import json
import ntpath
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from inspector.audit.registry import Finding
from inspector.audit.runner import AuditReport
from inspector.cli.pasted import _as_one
from inspector.cli.pasted.shell import split_command
from inspector.errors import InspectorError, NotFound
from inspector.memory.fit.commands import shell_line
from inspector.report import audit as audit_report
from inspector.sources import cache, local, target
from inspector.sources.target import parse_target

# What Python on Windows does not have (docs.python.org: "Availability: Unix"), taken away before anything is imported.
WITHOUT = """
import os, signal, stat, sys
for name in ("pread", "preadv", "pwrite", "O_NONBLOCK", "O_CLOEXEC", "O_NOFOLLOW", "SEEK_HOLE", "SEEK_DATA", "fork",
             "getuid", "geteuid", "mkfifo", "posix_fadvise", "sendfile", "statvfs"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGPIPE", "SIGHUP", "SIGALRM", "alarm", "setitimer"):
    if hasattr(signal, name):
        delattr(signal, name)
for name in ("fcntl", "resource", "termios", "tty", "pty", "pwd", "grp", "syslog"):
    sys.modules[name] = None
from inspector.__main__ import main
sys.argv = ["inspector", *sys.argv[1:]]
main()
"""
COMMANDS = [
    ["tiny-llama-q8_0.gguf"],
    ["show", "tiny-llama-q8_0.gguf", "--json"],
    ["tensors", "tiny-llama-q8_0.gguf"],
    ["meta", "tiny-llama-q8_0.gguf"],
    ["memory", "tiny-llama-q8_0.gguf", "-c", "4096"],
    ["memory", "tiny-llama-split-00001-of-00003.gguf", "--gpu", "24GiB", "--json"],
    ["fit", "tiny-llama-q8_0.gguf", "--gpu", "24GiB"],
    ["audit", "."],
    ["audit", "tiny-llama-q8_0.gguf", "--deep", "--sarif"],
    ["diff", "tiny-llama-q8_0.gguf", "tiny-llama-q8_0-be.gguf"],
    ["quantize-size", "tiny-llama-q8_0.gguf", "Q4_K_M"],
    ["calc", "--preset", "llama-2-70b"],
    ["rule"],
    ["--help"],
]


@pytest.fixture
def environment(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    return dict(os.environ)


def run(words, environment, cwd, *, prelude=(), **settings):
    how = ["-c", *prelude] if prelude else ["-m", "inspector"]
    done = subprocess.run(
        [sys.executable, *how, *words], cwd=cwd, env={**environment, **settings}, capture_output=True, check=False,
        timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands_say_the_same_without_what_windows_does_not_have(words, environment, files):
    here = files / "gguf"
    assert run(words, environment, here, prelude=[WITHOUT]) == run(words, environment, here)


def test_reading_by_seeking_gives_the_same_bytes(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes(range(200)))
    fd = os.open(path, os.O_RDONLY)
    try:
        for offset, length in ((0, 10), (150, 100), (199, 1), (200, 5), (1 << 62, 5), (1 << 70, 5), (7, 0)):
            assert local._seek_and_read(fd, length, offset) == bytes(range(200))[offset : offset + length]
    finally:
        os.close(fd)


@pytest.fixture
def windows(monkeypatch, tmp_path):
    """The modules that take paths apart, with ntpath's rules; a file's whole path is its name here."""
    monkeypatch.chdir(tmp_path)
    rules = SimpleNamespace(path=ntpath, sep="\\", scandir=os.scandir, environ=os.environ)
    for module in (target, cache, audit_report):
        monkeypatch.setattr(module, "os", rules)
    return tmp_path


PATHS = [
    r"C:\models\x.gguf", "C:/models/x.gguf", "C:x.gguf", "C:x", r"C:models\x.gguf", "C:models/x/y.gguf",
    r"\\server\share\x.gguf", "//server/share/x.gguf", r"\\server\share", r"\\?\C:\models\x.gguf", r"models\x.gguf",
    r".\x.gguf", r"..\x.gguf", "C:", "C:\\", "C://models/x.gguf", r"d:\Q4_K_M",
]  # fmt: skip


@pytest.mark.parametrize("text", PATHS)
def test_a_path_of_windows_that_is_not_there_is_a_path_all_the_same(text, windows):
    with pytest.raises(NotFound, match="no such file or folder") as caught:
        parse_target(text)
    assert "org/name" not in str(caught.value.hint)


@pytest.mark.parametrize("text", PATHS)
def test_and_so_it_is_on_other_systems(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound, match="no such file or folder"):
        parse_target(text)


@pytest.mark.skipif(os.name == "nt", reason="makes files whose names are whole paths of Windows")
@pytest.mark.parametrize("text", [r"C:\models\x.gguf", "C:x", r"\\server\share\x.gguf"])
def test_a_path_of_windows_that_is_there_is_local(text, windows):
    (windows / text).touch()
    assert (parse_target(text).kind, parse_target(text).path) == ("local", text)


@pytest.mark.skipif(os.name == "nt", reason="makes folders whose names are whole paths of Windows")
@pytest.mark.parametrize("folder", [r"C:\models", r"\\server\share", r"models\llama"])
def test_a_folder_of_windows_takes_a_quant(folder, windows):
    (windows / folder).mkdir()
    found = parse_target(folder + ":Q4_K_M")
    assert (found.kind, found.path, found.quant) == ("local", folder, "Q4_K_M")


def test_a_folder_named_like_a_drive_does_not_make_a_quant_of_what_is_on_the_drive(windows):
    (windows / "C").mkdir()
    for text in ("C:x", r"C:\models"):
        with pytest.raises(NotFound):
            parse_target(text)


@pytest.mark.parametrize("text", ["org/name", "hf://org/name", "https://huggingface.co/org/name/resolve/main/x.gguf"])
def test_names_on_the_hub_are_what_they_were(text, windows):
    assert parse_target(text).repo == "org/name"


@pytest.mark.parametrize("text", [r"org/name/a\..\..\x.gguf", "org/name/C:x.gguf", r"org/name/..\x.gguf"])
def test_a_file_of_a_repository_leads_nowhere_else_on_a_disk_of_windows(text):
    with pytest.raises(InspectorError):
        parse_target(text)


@pytest.mark.parametrize("revision", [r"..\..\secret", "C:secret", r"\\server\share\x"])
def test_a_revision_leads_nowhere_else_on_a_disk_of_windows(revision, windows):
    assert cache.read_ref("repo", revision) is None


@pytest.mark.parametrize(
    ("path", "root", "uri"),
    [
        (r"C:\work\models\x.gguf", r"C:\work", "models/x.gguf"),
        (r"c:\Work\models\x.gguf", r"C:\work", "models/x.gguf"),
        (r"D:\my models\x.gguf", r"C:\work", "file:///D:/my%20models/x.gguf"),
        (r"\\server\share\x.gguf", r"C:\work", "file://server/share/x.gguf"),
        (r"C:\worker\x.gguf", r"C:\work", "file:///C:/worker/x.gguf"),
    ],
)
def test_sarif_names_files_of_windows_by_uris(path, root, uri, windows):
    finding = Finding("GG001", "error", "", "broken", "")
    report = AuditReport(path, "fail", (finding,), 1, 1, folder=ntpath.dirname(path))
    body = audit_report.sarif([report], {"GG001": _Rule}, version="1", root=root)
    (result,) = body["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


_Rule = SimpleNamespace(code="GG001", name="x", summary="x", page="x", severity="error")


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "cp932", "ascii"])
@pytest.mark.parametrize(
    "words",
    [["memory", "tiny-llama-q8_0.gguf", "--sweep", "ctx"], ["memory", "tiny-llama-q8_0.gguf", "--gpu", "24GiB"],
     ["fit", "tiny-llama-q8_0.gguf", "--gpu", "24GiB"], ["audit", "."], ["--help"], ["nowhere…→✔.gguf"]],
    ids=" ".join,
)  # fmt: skip
def test_a_console_without_our_signs_is_given_others(words, encoding, environment, files):
    code, out, err = run(words, environment, files / "gguf", PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    text = (out + err).decode(encoding)
    assert code == run(words, environment, files / "gguf")[0]
    assert "Traceback" not in text
    assert not re.search(r"\\u2[0-9a-f]{3}|\\xd7|\\xb7", text)


def test_a_pattern_keeps_its_backslashes(environment, files):
    words = ["memory", "tiny-llama-q8_0.gguf", "--gpu", "24GiB", "--json", "-ot", r"blk\.0\.ffn_.*\.weight=CPU"]
    code, out, _ = run(words, environment, files / "gguf")
    assert code == 0
    host = [x["nbytes"] for x in json.loads(out)["lines"] if x["what"] == "weights" and x["device"] == "host"]
    _, plain, _ = run(words[:-2], environment, files / "gguf")
    assert host > [x["nbytes"] for x in json.loads(plain)["lines"] if x["what"] == "weights" and x["device"] == "host"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (r'C:\llama\llama-server.exe -m "C:\My Models\x.gguf" -ot "blk\.[0-9]+=CPU" ^' + "\r\n -c 4096",
         ["-m", r"C:\My Models\x.gguf", "-ot", r"blk\.[0-9]+=CPU", "-c", "4096"]),
        (r'& "C:\llama\llama-server.exe" -m \\nas\models\x.gguf `' + "\n -c 4096",
         ["-m", r"\\nas\models\x.gguf", "-c", "4096"]),
        (r"llama-server -m x.gguf -ot 'blk\.1=CPU' " + "\\\n -ctk q8_0",
         ["-m", "x.gguf", "-ot", r"blk\.1=CPU", "-ctk", "q8_0"]),
    ],
)  # fmt: skip
def test_a_pasted_line_of_windows_keeps_its_paths(text, words):
    found = split_command(_as_one([text]))
    assert (found.program, list(found.words)) == ("llama-server", words)


@pytest.mark.parametrize(
    ("word", "line"),
    [
        (r"C:\models\x.gguf", r"C:\models\x.gguf"),
        (r"C:\My Models\x.gguf", r'"C:\My Models\x.gguf"'),
        ("C:\\My Models\\", '"C:\\My Models\\\\"'),
        ("3,1", '"3,1"'),
        (r"ffn_.*_exps=CPU", r'"ffn_.*_exps=CPU"'),
        ("", '""'),
        ('a"b', '"a\\"b"'),
        ('a\\"b', '"a\\\\\\"b"'),
    ],
)
def test_commands_are_quoted_for_the_shells_of_windows(word, line):
    assert shell_line([word], windows=True) == line
