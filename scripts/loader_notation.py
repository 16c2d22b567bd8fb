"""C++ of llama.cpp's loaders → the notation of inspector/architectures/loaders.txt: a part of read_loaders.py.

Only what those functions are made of is known: declarations, loops, conditions, lambdas, the calls that read keys and
create tensors. Anything else raises Unknown.
"""

from __future__ import annotations

from loader_expressions import Expressions
from loader_words import SILENT, TYPES

__all__ = ["Function"]


class Function(Expressions):
    """One C++ function → lines of the notation."""

    # --- statements ---------------------------------------------------------------------------------------------

    def whole(self) -> list[str]:
        while self.i < len(self.t):
            self.statement()
        return self.lines

    def inner(self, prefix: str) -> None:
        """A statement or block under a line that ends in a colon."""
        self.emit(prefix)
        self.depth += 1
        before = len(self.lines)
        self.scopes.append({})
        self.statement()
        self.scopes.pop()
        if len(self.lines) == before:
            self.emit("pass")
        self.depth -= 1

    def statement(self) -> None:
        word = self.peek()
        if word == "{":
            self.take()
            self.scopes.append({})
            while not self.accept("}"):
                self.statement()
            self.scopes.pop()
        elif word == ";":
            self.take()
        elif word.startswith(SILENT) or word in {"LLAMA_LOAD_LOCALS", "using", "type"}:
            if word == "LLAMA_LOAD_LOCALS":
                self.emit("locals")
            self.skip_past(";")
        elif handler := getattr(self, f"do_{word.lower()}", None):
            self.take()
            handler()
        elif self.is_declaration():
            self.declaration()
        else:
            self.expression_statement()

    def do_if(self) -> None:
        self.take("(")
        condition = self.condition()
        self.take(")")
        self.inner(f"if {condition}:")
        while self.accept("else"):
            if self.accept("if"):
                self.take("(")
                condition = self.expr()
                self.take(")")
                self.inner(f"elif {condition}:")
            else:
                self.inner("else:")

    def condition(self) -> str:
        """What `if` asks; a name that it declares is set before."""
        if not self.is_declaration():
            return self.expr()
        while self.peek() in TYPES or self.peek() in {"const", "&", "*"}:
            self.take()
        name = self.take()
        self.take("=")
        value = self.expr()
        unique = self.declare(name)
        self.emit(f"{unique} = {value}")
        return self.expr() if self.accept(";") else unique

    def do_for(self) -> None:
        self.take("(")
        while self.peek() in TYPES or self.peek() in {"const", "&", "*"}:
            self.take()
        name = self.take()
        self.scopes.append({})
        if self.accept(":"):
            over = self.expr()
            unique = self.declare(name)
        else:
            self.take("=")
            start = self.expr()
            unique = self.declare(name)
            self.take(";")
            self.expr_name(name)
            self.take("<")
            over = f"range({start}, {self.expr()})"
            self.take(";")
            self.skip_past_round()
            self.i -= 1
        self.take(")")
        self.inner(f"for {unique} in {over}:")
        self.scopes.pop()

    def expr_name(self, name: str) -> None:
        if self.accept("("):
            self.take()
            self.take(")")
        self.take(name)

    def skip_past_round(self) -> None:
        depth = 1
        while depth:
            depth += {"(": 1, ")": -1}.get(self.take(), 0)

    def do_switch(self) -> None:
        self.take("(")
        subject = self.expr()
        self.take(")")
        self.take("{")
        first = True
        while not self.accept("}"):
            values = []
            default = False
            while self.peek() in {"case", "default"}:
                default = self.take() == "default" or default
                if self.peek() != ":":
                    values.append(self.expr())
                self.take(":")
            test = "else:" if default else f"if {subject} in ({', '.join(values)},):"
            self.emit(test if first or default else "el" + test)
            if first and default:
                self.lines[-1] = self.lines[-1].replace("else:", "if True:")
            first = False
            self.depth += 1
            before = len(self.lines)
            self.scopes.append({})
            while self.peek() not in {"case", "default", "}"}:
                if self.accept("break"):
                    self.take(";")
                elif self.peek() == "{":
                    self.take()
                    while not self.accept("}"):
                        if self.accept("break"):
                            self.take(";")
                        else:
                            self.statement()
                else:
                    self.statement()
            self.scopes.pop()
            if len(self.lines) == before:
                self.emit("pass")
            self.depth -= 1

    def do_return(self) -> None:
        if not self.accept(";"):
            value = self.expr()
            self.take(";")
            self.emit(f"return {value}")
        else:
            self.emit("return")

    def do_continue(self) -> None:
        self.take(";")
        self.emit("continue")

    def do_throw(self) -> None:
        for word in ("std", "::", "runtime_error", "("):
            self.take(word)
        self.emit(f"refuse({self.expr()})")
        self.take(")")
        self.take(";")

    def do_try(self) -> None:
        self.inner("try:")
        self.take("catch")
        self.take("(")
        self.skip_past_round()
        self.inner("except Refusal:")

    def do_ggml_assert(self) -> None:
        self.take("(")
        start = self.i
        condition = self.expr()
        text = " ".join(self.t[start : self.i])
        for a, b in ((" . ", "."), (" (", "("), ("( ", "("), (" )", ")"), (" ::", "::"), (":: ", "::")):
            text = text.replace(a, b)
        self.take(")")
        self.take(";")
        self.emit(f"ensure({condition}, {text!r})")

    def do_ggml_abort(self) -> None:
        self.take("(")
        self.emit(f"refuse({self.args()})")
        self.take(";")

    # --- declarations -------------------------------------------------------------------------------------------

    def is_declaration(self) -> bool:
        word = self.peek()
        if word in {"const", "struct", "static", "constexpr"} or (word in TYPES and self.peek(1) not in {"(", "."}):
            return True
        if word != "std" or self.peek(1) != "::":
            return False
        return self.peek(2) in {"string", "vector", "array", "unordered_set", "stringstream"} and self.peek(3) != "("

    def declaration(self) -> None:
        kind = ""
        while self.peek() in {"const", "static", "struct", "constexpr"}:
            self.take()
        kind = self.take()
        while self.accept("::"):
            kind += "::" + self.take()
        if self.accept("<"):
            depth = 1
            while depth:
                word = self.take()
                depth += {"<": 1, ">": -1, ">>": -2}.get(word, 0)
                kind += " " + word
        while self.peek() in {"&", "*", "const"}:
            self.take()
        name = self.take()
        self.types[name] = kind
        if self.peek() == "=" and self.peek(1) == "[":
            self.lambda_(name)
            return
        if self.accept(";"):
            self.emit(f"{self.declare(name)} = {self.empty(kind)}")
            return
        if self.accept("("):
            self.emit(f"{self.declare(name)} = {self.args()}")
            self.take(";")
            return
        self.take("=")
        if self.peek() == "{" and self.peek(1) == "}":
            self.i += 2
            value = self.empty(kind)
        else:
            value = self.expr()
        unique = self.declare(name)
        self.take(";")
        if unique != value:
            self.emit(f"{unique} = {value}")

    def empty(self, kind: str) -> str:
        if kind.startswith(("std::vector", "std::array", "std::unordered_set")):
            return "Values()"
        return "''" if kind == "std::string" else "0"

    def lambda_(self, name: str) -> None:
        self.take("=")
        self.skip_past("]")
        self.take("(")
        args = []
        self.scopes[-1][name] = name
        self.scopes.append({})
        while not self.accept(")"):
            words = []
            default = ""
            while self.peek() not in {",", ")"}:
                if self.accept("="):
                    default = f"={self.expr()}"
                else:
                    words.append(self.take())
            self.accept(",")
            unique = self.declare(words[-1])
            args.append(unique + default)
        if self.accept("->"):
            while self.peek() != "{":
                self.take()
        self.inner(f"def {name}({', '.join(args)}):")
        self.scopes.pop()
        self.accept(";")

    def expression_statement(self) -> None:
        start = self.i
        left = self.expr()
        op = self.peek()
        if op == "<<":
            parts = []
            while self.accept("<<"):
                parts.append(f"str({self.expr()})")
            self.take(";")
            self.emit(f"{left} = {' + '.join(parts)}")
            return
        if op in {"=", "|=", "+=", "-=", "*=", "/="}:
            self.take()
            if self.peek() == "{":
                self.i = start
                self.skip_past(";")
                return
            value = self.expr()
            self.take(";")
            if not left.startswith("layers[") and "sqrt" not in value and "pow" not in value:
                self.emit(f"{left} {'//=' if op == '/=' else op} {value}")
            return
        self.take(";")
        if left not in {"None", "0"}:
            self.emit(left)
