"""Print all audit rules as Markdown: one table a family, then what each page says. docs/rules.md is made of it."""

from __future__ import annotations

import inspect

from inspector.audit.registry import Rule, rules

FAMILIES = {
    "FL": "What a file really is",
    "GG": "GGUF structure",
    "GM": "GGUF meaning",
    "GL": "Loading by llama.cpp",
    "ST": "safetensors structure",
    "TX": "Text that attacks",
    "FD": "Folders, indexes, configs",
    "CD": "Code that comes with a model",
    "HS": "Hashes (`--hash`)",
    "VA": "Values (`--deep`)",
}


def page(rule: Rule) -> list[str]:
    """One rule: heading, severity, its page, what to do."""
    lines = [f"### {rule.code} {rule.name}", "", f"*{rule.severity}*", "", inspect.cleandoc(rule.page), ""]
    return [*lines, f"What to do: {rule.hint}.", ""] if rule.hint else lines


def main() -> None:
    for letters, title in FAMILIES.items():
        family = [r for r in rules().values() if r.code.startswith(letters)]
        if family:
            print("\n".join([f"## {letters}: {title}", "", *(line for r in family for line in page(r))]))


if __name__ == "__main__":
    main()
