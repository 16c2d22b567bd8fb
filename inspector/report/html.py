"""`report`: one self-contained page: facts, tensors, and memory over contexts. Nothing is loaded from anywhere.

The page's data is one JSON object; its script only draws. Text from the file reaches the page as text nodes, and the
JSON cannot close its element (`<` is written \\u003c), so nothing in a model file can become markup.
"""

from __future__ import annotations

import json

from inspector.jsonable import jsonable
from inspector.report.escape import escape
from inspector.report.memory import part_sums
from inspector.report.show import dtype_rows, facts_json, layer_kinds
from inspector.report.tensors import tensor_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Final

    from inspector.checkpoint import Checkpoint
    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Estimate

MAX_TENSORS: Final = 20_000

_STYLE: Final = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--dim:#667;--line:#d8dce2;--a:#3366cc;--b:#dc7633;--c:#2e8b57;
--d:#8e44ad;--e:#7f8c8d;--f:#c0392b}
@media(prefers-color-scheme:dark){:root{--bg:#15181c;--fg:#e6e8eb;--dim:#9aa3ad;--line:#333941}}
body{font:15px/1.5 system-ui,sans-serif;background:var(--bg);color:var(--fg);max-width:70rem;margin:2rem auto;
padding:0 1rem}
h1{font-size:1.3rem;overflow-wrap:anywhere}h2{font-size:1.05rem;margin-top:2rem}
table{border-collapse:collapse;width:100%}td,th{padding:.2rem .6rem;border-bottom:1px solid var(--line);text-align:left;
vertical-align:top}
th{color:var(--dim);font-weight:600;cursor:pointer}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.bar{display:flex;height:1.4rem;border-radius:4px;overflow:hidden;background:var(--line)}.bar span{height:100%}
.key{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.4em}
label{margin-right:1rem}input[type=search]{width:16rem}.dim{color:var(--dim)}svg{width:100%;height:auto}
#tensors{max-height:32rem;overflow:auto}
"""

_SCRIPT: Final = """
"use strict";
const D=JSON.parse(document.getElementById("data").textContent);
const COLORS={weights:"var(--a)",kv_cache:"var(--b)",recurrent_state:"var(--c)",compute:"var(--d)",output:"var(--e)",
overhead:"var(--f)"};
const $=id=>document.getElementById(id);
const bytes=n=>{const u=["B","KiB","MiB","GiB","TiB"];let i=0;while(n>=1024&&i<4){n/=1024;i++}
return (i?n.toFixed(2):n)+" "+u[i]};
const num=n=>n==null?"unknown":n.toLocaleString("en-US");
function el(tag,text,cls){const e=document.createElement(tag);if(text!=null)e.textContent=text;if(cls)e.className=cls;
return e}
function row(cells,tag){const r=el("tr");for(const [t,c] of cells)r.append(el(tag||"td",t,c));return r}
function facts(){for(const [k,v] of D.facts)$("facts").append(row([[k],[v]]));
for(const n of D.notes)$("notes").append(el("li",n))}
function types(){const t=$("types");t.append(row([["type"],["tensors","n"],["elements","n"],["bytes","n"]],"th"));
for(const d of D.dtypes)t.append(row([[d[0]],[num(d[1]),"n"],[num(d[2]),"n"],[bytes(d[3])+" ("+num(d[3])+")","n"]]))}
let sort="offset",down=false;
function tensors(){const q=$("find").value.toLowerCase(),t=$("list");t.textContent="";
const head=row([["name"],["shape"],["dtype"],["n_elements","n"],["nbytes","n"],["offset","n"]],"th");
for(const h of head.children)h.onclick=()=>{down=sort===h.textContent?!down:false;sort=h.textContent;tensors()};
t.append(head);
const rows=D.tensors.filter(x=>x.name.toLowerCase().includes(q));
rows.sort((a,b)=>(a[sort]>b[sort]?1:a[sort]<b[sort]?-1:0)*(down?-1:1));
for(const x of rows.slice(0,1000))t.append(row([[x.name],[x.shape.join(" × ")],[x.dtype],[num(x.n_elements),"n"],
[num(x.nbytes),"n"],[num(x.offset),"n"]]));
$("count").textContent=rows.length+" tensors"+(rows.length>1000?", the first 1,000 shown":"")}
function memory(){const s=D.sweeps[$("kv").value],i=+$("ctx").value,p=s.points[i];$("ctxv").textContent=num(p.n_ctx);
const bar=$("bar"),t=$("parts");bar.textContent="";t.textContent="";
for(const [k,v] of Object.entries(p.parts)){const b=el("span");b.style.width=100*v/p.total+"%";
b.style.background=COLORS[k];b.title=k+" "+bytes(v);bar.append(b);const r=el("tr"),c=el("td"),key=el("span",null,"key");
key.style.background=COLORS[k];c.append(key,k.replace("_"," "));r.append(c,el("td",bytes(v),"n"),el("td",num(v),"n"));
t.append(r)}
t.append(row([["total ("+p.grade+")"],[bytes(p.total),"n"],[num(p.total),"n"]]));
const g=+$("gpu").value*1073741824;$("fits").textContent=p.unknown.length?"unknown: "+p.unknown.join(", "):
g>0?(p.total<=g?"fits, "+bytes(g-p.total)+" to spare":"does not fit: "+bytes(p.total-g)+" too much"):"";chart(s,i)}
function chart(s,at){const W=900,H=260,svg=$("chart");svg.textContent="";const NS="http://www.w3.org/2000/svg";
const max=Math.max(...s.points.map(p=>p.total)),n=s.points.length,w=W/n;
s.points.forEach((p,i)=>{let y=H;for(const [k,v] of Object.entries(p.parts)){const h=H*v/max;y-=h;
const r=document.createElementNS(NS,"rect");r.setAttribute("x",i*w+2);r.setAttribute("y",y);
r.setAttribute("width",w-4);r.setAttribute("height",h);r.style.fill=COLORS[k];r.style.opacity=i===at?1:.55;svg.append(r)}
const t=document.createElementNS(NS,"text");t.textContent=p.n_ctx>=1024?Math.round(p.n_ctx/1024)+"k":p.n_ctx;
t.setAttribute("x",i*w+w/2);t.setAttribute("y",H+16);t.setAttribute("text-anchor","middle");
t.style.fill="var(--dim)";t.style.fontSize="12px";svg.append(t)})}
facts();types();tensors();$("find").oninput=tensors;
const names=Object.keys(D.sweeps);for(const n of names){const o=el("option",n);o.value=n;$("kv").append(o)}
if(names.length){$("ctx").max=D.sweeps[names[0]].points.length-1;$("ctx").value=$("ctx").max;
for(const id of ["kv","ctx","gpu"])$(id).oninput=memory;memory()}else $("memory").hidden=true;
"""

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{style}</style></head><body>
<h1>{title}</h1>
<table id="facts"></table><ul id="notes" class="dim"></ul>
<section id="memory"><h2>Memory ({engine})</h2>
<p><label>cache <select id="kv"></select></label>
<label>context <input id="ctx" type="range" min="0" value="0"> <output id="ctxv"></output> tokens</label>
<label>GPU <input id="gpu" type="number" min="0" step="1" value="24" style="width:5rem"> GiB</label></p>
<div id="bar" class="bar"></div><p id="fits"></p><table id="parts"></table>
<svg id="chart" viewBox="0 0 900 280" role="img" aria-label="memory over contexts"></svg></section>
<h2>Element types</h2><table id="types"></table>
<h2>Tensors</h2><p><input id="find" type="search" placeholder="part of a name"> <span id="count" class="dim"></span></p>
<div id="tensors"><table id="list"></table></div>
<p class="dim">Computed by inspector {version} from headers alone; no weight was read.</p>
<script id="data" type="application/json">{data}</script>
<script>{script}</script></body></html>
"""


def _fact_rows(facts: ModelFacts) -> list[tuple[str, str]]:
    body = facts_json(facts)
    skip = {"layers", "origin", "format"}
    rows = [
        (k, "unknown" if v is None else f"{v:,}" if type(v) is int else escape(str(v)))
        for k, v in body.items()
        if k not in skip
    ]
    kinds = ", ".join(f"{n} {kind}" + (f" of {w:,}" if w else "") for kind, n, w in layer_kinds(facts))
    return [*rows, ("layers", kinds)]


def _point(n_ctx: int, estimate: Estimate) -> dict[str, Any]:
    return {
        "n_ctx": n_ctx, "parts": part_sums(estimate), "total": estimate.total_nbytes, "grade": estimate.grade,
        "unknown": list(estimate.unknown),
    }  # fmt: skip


def page(
    checkpoint: Checkpoint, facts: ModelFacts, sweeps: Mapping[str, Sequence[tuple[int, Estimate]]], *, version: str
) -> str:
    """The whole page as text. `sweeps`: cache type → (context, estimate) in order of context."""
    tensors = [tensor_json(t) for t in checkpoint.tensors[:MAX_TENSORS]]
    notes = [*checkpoint.notes, *facts.notes]
    if len(checkpoint.tensors) > MAX_TENSORS:
        notes.append(f"the first {MAX_TENSORS:,} of {len(checkpoint.tensors):,} tensors are listed")
    data = {
        "facts": _fact_rows(facts),
        "notes": [escape(n) for n in notes],
        "dtypes": dtype_rows(checkpoint),
        "tensors": [t | {"name": escape(t["name"])} for t in tensors],
        "sweeps": {kv: {"points": [_point(n, e) for n, e in points]} for kv, points in sweeps.items()},
    }
    text = json.dumps(jsonable(data), ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    engine = next((e.engine for points in sweeps.values() for _, e in points), "")
    return _PAGE.format(
        title=_html(escape(checkpoint.target)), style=_STYLE, script=_SCRIPT, data=text, version=version, engine=engine
    )


def _html(text: str) -> str:
    for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&#39;")):
        text = text.replace(char, entity)
    return text
