"""Names that lead from a template into Python: internals, modules, functions, and what web frameworks add."""

from __future__ import annotations

import re
import unicodedata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final


def words(text: str) -> frozenset[str]:
    """The words of a table."""
    return frozenset(text.split())


DUNDER: Final = re.compile(r"__\w+__|__(class|base|globals|builtins|import|init|mro|subclasses)\w*|_[A-Z]\w*?__\w+")
DUNDER_INSIDE: Final = re.compile(
    r"__(class|bases?|mro|subclasses|globals|builtins|init|import|getattribute|getattr|self|func|code|closure|dict|"
    r"reduce|reduce_ex|module|loader|call|new|getitem|setattr|delattr|enter|exit|wrapped|context|kwdefaults|defaults|"
    r"qualname|name|spec|doc|weakref|init_subclass|annotations)__"
)
# Attributes of frames, functions and generators: the ways from any object to its globals.
INTERNAL: Final = words(
    "gi_frame gi_code gi_yieldfrom cr_frame cr_code cr_await ag_frame ag_code f_globals f_locals f_builtins f_back "
    "f_code f_trace tb_frame tb_next func_globals func_code func_closure func_defaults func_dict im_func im_self "
    "im_class co_code co_consts co_names format_map mro"
)
# Methods that start programs or load code.
METHODS: Final = words(
    "popen popen2 popen3 Popen system check_output check_call getoutput getstatusoutput spawnl spawnv posix_spawn "
    "execv execve execl execvp fork forkpty exec eval exec_module load_module import_module urlopen urlretrieve "
    "create_subprocess_shell create_subprocess_exec run_code runcode"
)
FUNCTIONS: Final = words(
    "eval exec execfile compile open getattr setattr delattr globals locals vars dir breakpoint input help exit quit "
    "memoryview classmethod type object super id"
)
MODULES: Final = words(
    "os sys subprocess builtins importlib posix nt pty socket ctypes shutil pickle marshal runpy platform"
)
# What jinja2 puts into every template and what web frameworks add: known as the first step of an attack.
GLOBALS: Final = frozenset({"lipsum", "cycler", "joiner", "namespace", "range", "dict", "self"})
HELPERS: Final = frozenset({"lipsum", "cycler", "joiner"})
WEB: Final = frozenset({"url_for", "get_flashed_messages", "get_env", "environ"})
BY_ATTRIBUTE: Final = frozenset({"map", "selectattr", "rejectattr", "groupby", "sort", "unique", "min", "max", "sum"})
WIDTHS: Final = re.compile(r"%[-+ 0#]*\d{6,}|%[-+ 0#]*\d*\.\d{6,}|\{[^{}]{0,40}:[^{}]{0,20}?\d{6,}")
PADDING: Final = frozenset({"center", "ljust", "rjust", "zfill", "indent", "wordwrap", "expandtabs", "batch", "slice"})


def is_internal(name: Any) -> bool:
    """Whether a name leads into Python's internals: `__class__`, `f_globals`, also in full-width disguise."""
    if not isinstance(name, str) or len(name) > 400:
        return False
    plain = name if name.isascii() else unicodedata.normalize("NFKC", name)
    return any(part in INTERNAL or DUNDER.fullmatch(part) is not None for part in plain.strip().split("."))


def mentions_internal(text: Any) -> bool:
    """Whether a string holds such a name among other words: a format string, a path."""
    return isinstance(text, str) and DUNDER_INSIDE.search(unicodedata.normalize("NFKC", text)) is not None
