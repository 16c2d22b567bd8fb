"""C++ expressions of llama.cpp's loaders → Python's, in the notation of loaders.txt: a part of read_loaders.py."""

from __future__ import annotations

import re

from loader_words import CALLS, FLAGS, KEPT, LOCALS, READERS, RESERVED, STORED, TYPES, Names, Unknown, tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class Expressions:
    """The words of one C++ function, read as expressions."""

    def __init__(self, names: Names, text: str, args: tuple[str, ...] = ()) -> None:
        self.names, self.t, self.i = names, tokens(text), 0
        self.lines: list[str] = []
        self.depth = 0
        self.scopes: list[dict[str, str]] = [{a: a for a in args}]
        self.used = {*args, *RESERVED}
        self.types: dict[str, str] = {}
        self.targets = self._targets()

    def _targets(self) -> set[str]:
        """Local names that a key is read into: they become fields of `v`."""
        found = set()
        for i, word in enumerate(self.t):
            if word in READERS and self.t[i + 1] == "(":
                j = self.t.index(",", i) + 1
                if self.t[j] not in {"hparams", "params"}:
                    found.add(self.t[j])
        return found

    # --- words --------------------------------------------------------------------------------------------------

    def peek(self, k: int = 0) -> str:
        return self.t[self.i + k] if self.i + k < len(self.t) else ""

    def take(self, word: str = "") -> str:
        got = self.peek()
        if word and got != word:
            raise Unknown(f"{word!r} expected: {' '.join(self.t[max(self.i - 12, 0) : self.i + 8])}")
        self.i += 1
        return got

    def accept(self, word: str) -> bool:
        if self.peek() == word:
            self.i += 1
            return True
        return False

    def skip_past(self, end: str) -> None:
        """To behind the next `end` outside brackets."""
        depth = 0
        while True:
            word = self.take()
            depth += {"(": 1, "{": 1, "[": 1, ")": -1, "}": -1, "]": -1}.get(word, 0)
            if word == end and depth <= 0:
                return

    def emit(self, line: str) -> None:
        self.lines.append("  " * self.depth + line)

    # --- names --------------------------------------------------------------------------------------------------

    def declare(self, name: str) -> str:
        if name in self.targets:
            self.scopes[-1][name] = f"v.{name}"
            return f"v.{name}"
        unique, n = name, 2
        outer = any(name in scope for scope in self.scopes[:-1]) or name in RESERVED
        while outer and unique in self.used:
            unique, n = f"{name}_{n}", n + 1
        self.used.add(unique)
        self.scopes[-1][name] = unique
        return unique

    def resolve(self, name: str) -> str:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        if name in {"nullptr", "NULL"}:
            return "None"
        if name in {"true", "false"}:
            return name.capitalize()
        if name in FLAGS:
            return FLAGS[name]
        if name in self.names.constants:
            return str(self.names.constants[name])
        if name in self.names.names:
            return repr(self.names.names[name])
        if name in LOCALS or name in {"h", "arch"}:
            return name
        return f"v.{name}"

    # --- expressions --------------------------------------------------------------------------------------------

    def expr(self) -> str:
        condition = self.binary(0)
        if not self.accept("?"):
            return condition
        yes = self.expr()
        self.take(":")
        return f"({yes} if {condition} else {self.expr()})"

    LEVELS: ClassVar = (
        ("||",),
        ("&&",),
        ("|",),
        ("&",),
        ("==", "!="),
        ("<", ">", "<=", ">="),
        ("+", "-"),
        ("*", "/", "%"),
    )
    SPELT: ClassVar = {"||": "or", "&&": "and", "/": "//"}

    def binary(self, level: int) -> str:
        if level == len(self.LEVELS):
            return self.unary()
        left = self.binary(level + 1)
        while self.peek() in self.LEVELS[level]:
            op = self.take()
            right = self.binary(level + 1)
            if right == "None":
                op = {"==": "is", "!=": "is not"}[op]
            left = f"{left} {self.SPELT.get(op, op)} {right}"
            if level in {0, 2, 6}:
                left = f"({left})"
        return left

    def unary(self) -> str:
        word = self.peek()
        if word == "!":
            self.take()
            return f"(not {self.unary()})"
        if word in {"-", "+"}:
            self.take()
            return f"{word}{self.unary()}"
        if word in {"&", "*"}:
            self.take()
            return self.unary()
        if word == "(":
            k = 1
            while self.peek(k) in TYPES or self.peek(k) in {"const", "*", "unsigned"}:
                k += 1
            if k > 1 and self.peek(k) == ")":
                self.i += k + 1
                return self.unary()
        return self.postfix()

    def args(self) -> str:
        out = []
        while not self.accept(")"):
            out.append(self.expr())
            self.accept(",")
        return ", ".join(out)

    def primary(self) -> str:
        word = self.take()
        for reading in (self.bracketed, self.literal, self.cast, self.verb):
            found = reading(word)
            if found is not None:
                return found
        return self.resolve(word)

    def bracketed(self, word: str) -> str | None:
        if word == "(":
            inside = self.expr()
            self.take(")")
            return f"({inside})"
        if word != "{":
            return None
        out = []
        while not self.accept("}"):
            out.append(self.expr())
            self.accept(",")
        return f"({', '.join(out)},)" if out else "()"

    def literal(self, word: str) -> str | None:
        if word[0] == '"':
            while self.peek()[:1] == '"':
                word = word[:-1] + self.take()[1:]
            return word
        return word.rstrip("uflUL") if word[0].isdigit() else None

    def cast(self, word: str) -> str | None:
        """Casts fall away; functions of std:: stay by their names."""
        template = word == "std" and self.peek(1) in {"max", "min"} and self.peek(2) == "<"
        if word == "static_cast" or template:
            self.i += 2 if template else 0
            self.skip_past(">")
            self.take("(")
            return f"{'max' if template else ''}({self.args()})"
        if word in TYPES and self.accept("("):
            return f"({self.args()})"
        if word == "std" and self.accept("::"):
            return self.standard(self.take())
        return None

    def verb(self, word: str) -> str | None:
        """What the notation has words of its own for."""
        if word.startswith("llama_model_") and self.accept("::"):
            what = self.take()
            self.take("(")
            self.args()
            return f"base({word.removeprefix('llama_model_')!r}, {what.removeprefix('load_arch_')!r})"
        if word == "ml" and self.peek() in {".", "->"} and self.peek(1) in READERS:
            self.take()
            return self.reader(self.take())
        if word == "this":
            self.take("->")
            return self.primary()
        if word.startswith("qwen4exp_require_"):
            return word.removeprefix("qwen4exp_")
        if word in CALLS and self.accept("("):
            if word == "create_tensor" and self.accept("ml"):
                self.take(",")
            return self.tensor_name() if word == "tn" else f"{CALLS[word]}({self.args()})"
        return KEPT.get(word)

    def standard(self, what: str) -> str:
        self.take("(")
        if what == "fill":
            target = self.expr()
            self.take(",")
            self.expr()
            self.take(",")
            value = self.expr()
            self.take(")")
            return f"fill({target.removesuffix('.begin()')}, {value})"
        inside = self.args()
        if what == "string":
            return f"({inside})"
        if what == "to_string":
            return f"str({inside})"
        if what in {"max", "min"}:
            return f"{what}({inside})"
        return f"{what}({inside})"

    def tensor_name(self) -> str:
        parts = []
        while not self.accept(")"):
            parts.append(self.expr())
            self.accept(",")
        name, rest = parts[0], parts[1:]
        suffix = rest.pop(0)[1:-1] if rest and rest[0][0] == '"' else ""
        if name[0] == "'":
            name = repr(name[1:-1] + (f".{suffix}" if suffix else ""))
        elif suffix:
            name = f"{name} + '.{suffix}'"
        if "%d" in name and rest:
            return f"{name} % ({', '.join(rest[: name.count('%d')])})"
        return f"named({name}, {', '.join(rest)})" if rest and name[0] != "'" else name

    def reader(self, what: str) -> str:
        self.take("(")
        key = self.expr()
        self.take(",")
        target = self.expr()
        more = []
        while self.accept(","):
            more.append(self.expr())
        self.take(")")
        owner, _, field = target.rpartition(".")
        short = "'" + key[1:-1].removeprefix("%s.") + "'" if key.startswith("'%s.") else key
        general = not key.startswith("'%s.")
        kind = self.kind_of(owner, field)
        required = "True"
        length = ""
        if what == "get_key_or_arr" and kind[1]:
            length = f", n={more.pop(0)}"
        if more:
            required = {"false": "False", "0": "False", "0.0": "False", "true": "True"}.get(more[0], more[0])
        spelt = f"{short}, {owner}, {field!r}, {kind[0]!r}"
        spelt += "" if required == "True" else ", required=False"
        spelt += length + (", own=False" if general else "")
        if what == "get_arr":
            spelt += "" if kind[1] else ", vector=True"
        return f"{what}({spelt})"

    def kind_of(self, owner: str, field: str) -> tuple[str, int]:
        kind, array = "uint32_t", 0
        if owner in {"h", "h.posnet", "h.convnext"}:
            member = self.names.members.get(field)
            if member is not None:
                kind, array = member[0], member[1]
        else:
            kind = self.types.get(field) or self.names.own.get(field, "uint32_t")
            vector = re.match(r"std::vector ?< ?([\w:]+(?: :: \w+)?) ?>", kind)
            array_ = re.match(r"std::array ?(\w+) ,", kind)
            kind = vector[1].replace(" ", "") if vector else array_[1] if array_ else kind
            array = 1 if array_ else 0
        return STORED.get(kind, "u32"), array

    def postfix(self) -> str:
        left = self.primary()
        while True:
            if self.peek() in {".", "->"}:
                self.take()
                name = self.take()
                if name in {"c_str", "str", "tensor"}:
                    if self.accept("("):
                        self.take(")")
                    continue
                left = f"{left}.{name}"
            elif self.peek() == "[":
                self.take()
                left = f"{left}[{self.expr()}]"
                self.take("]")
            elif self.peek() == "(":
                self.take()
                left = f"{left}({self.args()})"
            elif self.peek() in {"++", "--"}:
                self.take()
                left = f"{left} += 1"
            else:
                return left
