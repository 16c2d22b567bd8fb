"""`report`: one self-contained page: the answer, a calculator, plots and tensors. Nothing is loaded from anywhere.

Template, style and script lie in `page/`; the result holds all three, and its policy allows just these two, by hash.
Its data is one JSON object; its script looks figures up in it and adds them. Text from the file reaches the page as
text nodes, and the JSON cannot close its element (`<` is written \\u003c), so nothing in a file can become markup.
"""

from __future__ import annotations

import base64
import hashlib
import json

from inspector.jsonable import jsonable
from inspector.report.escape import escape
from inspector.report.page_data import page_data

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from inspector.checkpoint import Checkpoint
    from inspector.facts import ModelFacts
    from inspector.memory.tables.figures import Table


def page(
    checkpoint: Checkpoint,
    facts: ModelFacts,
    tables: Sequence[Table],
    *,
    version: str,
    target: str = "",
    n_ctx: int | None = None,
    cards: int = 1,
) -> str:
    """The whole page as text. `tables`: one an engine, the first shown first; `n_ctx`, `cards`: what it shows first.

    `target`: what the page is called after; the checkpoint's own where it is empty.
    """
    data = page_data(checkpoint, facts, tables, n_ctx=n_ctx, cards=cards)
    return _render(title=escape(target or checkpoint.target), data=data, version=version)


def _hash(text: str) -> str:
    """A script or style as a policy names it."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def _render(*, title: str, data: dict[str, Any], version: str) -> str:
    """The template with everything put into it; words are escaped there; style, script and data are not."""
    from jinja2 import Environment, PackageLoader

    loader = PackageLoader("inspector.report", "page")
    env = Environment(loader=loader, autoescape=True, keep_trailing_newline=True)
    text = json.dumps(jsonable(data), ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    style, script = (loader.get_source(env, name)[0] for name in ("style.css", "script.js"))
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    return env.get_template("page.html.j2").render(
        title=title, version=version, style=style, script=script, data=text, policy=policy
    )
