"use strict";
const D = JSON.parse(document.getElementById("data").textContent);
const COLORS = {
  weights: "var(--a)",
  kv_cache: "var(--b)",
  recurrent_state: "var(--c)",
  compute: "var(--d)",
  output: "var(--e)",
  overhead: "var(--f)"
};
const $ = id => document.getElementById(id);
const bytes = n => {
  const u = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (n >= 1024 && i < 4) {
    n /= 1024;
    i++
  }
  return (i ? n.toFixed(2) : n) + " " + u[i]
};
const num = n => n == null ? "unknown" : n.toLocaleString("en-US");

function el(tag, text, cls) {
  const e = document.createElement(tag);
  if (text != null) e.textContent = text;
  if (cls) e.className = cls;
  return e
}

function row(cells, tag) {
  const r = el("tr");
  for (const [t, c] of cells) r.append(el(tag || "td", t, c));
  return r
}

function facts() {
  for (const [k, v] of D.facts) $("facts").append(row([
    [k],
    [v]
  ]));
  for (const n of D.notes) $("notes").append(el("li", n))
}

function types() {
  const t = $("types");
  t.append(row([
    ["type"],
    ["tensors", "n"],
    ["elements", "n"],
    ["bytes", "n"]
  ], "th"));
  for (const d of D.dtypes) t.append(row([
    [d[0]],
    [num(d[1]), "n"],
    [num(d[2]), "n"],
    [bytes(d[3]) + " (" + num(d[3]) + ")", "n"]
  ]))
}
let sort = "offset",
  down = false;

function tensors() {
  const q = $("find").value.toLowerCase(),
    t = $("list");
  t.textContent = "";
  const head = row([
    ["name"],
    ["shape"],
    ["dtype"],
    ["n_elements", "n"],
    ["nbytes", "n"],
    ["offset", "n"]
  ], "th");
  for (const h of head.children) h.onclick = () => {
    down = sort === h.textContent ? !down : false;
    sort = h.textContent;
    tensors()
  };
  t.append(head);
  const rows = D.tensors.filter(x => x.name.toLowerCase().includes(q));
  rows.sort((a, b) => (a[sort] > b[sort] ? 1 : a[sort] < b[sort] ? -1 : 0) * (down ? -1 : 1));
  for (const x of rows.slice(0, 1000)) t.append(row([
    [x.name],
    [x.shape.join(" × ")],
    [x.dtype],
    [num(x.n_elements), "n"],
    [num(x.nbytes), "n"],
    [num(x.offset), "n"]
  ]));
  $("count").textContent = rows.length + " tensors" + (rows.length > 1000 ? ", the first 1,000 shown" : "")
}

function memory() {
  const s = D.sweeps[$("kv").value],
    i = +$("ctx").value,
    p = s.points[i];
  $("ctxv").textContent = num(p.n_ctx);
  const card = D.cards[+$("gpu").value],
    extra = card ? card.extra : 0,
    bar = $("bar"),
    t = $("parts");
  bar.textContent = "";
  t.textContent = "";
  for (const [k, w] of Object.entries(p.parts)) {
    const v = k === "overhead" ? w + extra : w;
    const b = el("span");
    b.style.width = 100 * v / (p.total + extra) + "%";
    b.style.background = COLORS[k];
    b.title = k + " " + bytes(v);
    bar.append(b);
    const r = el("tr"),
      c = el("td"),
      key = el("span", null, "key");
    key.style.background = COLORS[k];
    c.append(key, k.replace("_", " "));
    r.append(c, el("td", bytes(v), "n"), el("td", num(v), "n"));
    t.append(r)
  }
  t.append(row([
    ["total (" + p.grade + ")"],
    [bytes(p.total + extra), "n"],
    [num(p.total + extra), "n"]
  ]));
  const left = card ? card.usable - p.on_card - extra : 0;
  $("fits").textContent = p.unknown.length ? "unknown: " + p.unknown.join(", ") : !card ? "" : left >= 0 ?
    "fits, " + bytes(left) + " to spare" : "does not fit: " + bytes(-left) + " too much";
  chart(s, i)
}

function chart(s, at) {
  const W = 900,
    H = 260,
    svg = $("chart");
  svg.textContent = "";
  const NS = "http://www.w3.org/2000/svg";
  const max = Math.max(...s.points.map(p => p.total)),
    n = s.points.length,
    w = W / n;
  s.points.forEach((p, i) => {
    let y = H;
    for (const [k, v] of Object.entries(p.parts)) {
      const h = H * v / max;
      y -= h;
      const r = document.createElementNS(NS, "rect");
      r.setAttribute("x", i * w + 2);
      r.setAttribute("y", y);
      r.setAttribute("width", w - 4);
      r.setAttribute("height", h);
      r.style.fill = COLORS[k];
      r.style.opacity = i === at ? 1 : .55;
      svg.append(r)
    }
    const t = document.createElementNS(NS, "text");
    t.textContent = p.n_ctx >= 1024 ? Math.round(p.n_ctx / 1024) + "k" : p.n_ctx;
    t.setAttribute("x", i * w + w / 2);
    t.setAttribute("y", H + 16);
    t.setAttribute("text-anchor", "middle");
    t.style.fill = "var(--dim)";
    t.style.fontSize = "12px";
    svg.append(t)
  })
}
facts();
types();
tensors();
$("find").oninput = tensors;
const names = Object.keys(D.sweeps);
for (const n of names) {
  const o = el("option", n);
  o.value = n;
  $("kv").append(o)
}
D.cards.forEach((c, i) => {
  const o = el("option", c.gib + " GiB");
  o.value = i;
  o.selected = c.gib === 24;
  $("gpu").append(o)
});
if (names.length) {
  $("ctx").max = D.sweeps[names[0]].points.length - 1;
  $("ctx").value = $("ctx").max;
  for (const id of ["kv", "ctx", "gpu"]) $(id).oninput = memory;
  memory()
} else $("memory").hidden = true;
