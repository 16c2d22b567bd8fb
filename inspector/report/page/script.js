"use strict";
const D = JSON.parse(document.getElementById("data").textContent);
const PARTS = ["weights", "kv_cache", "recurrent_state", "compute", "output", "overhead"];
const WORDS = { weights: "weights", kv_cache: "KV cache", recurrent_state: "recurrent state", compute: "compute", output: "output buffer", overhead: "overhead" };
const UNITS = [["TiB", 2 ** 40], ["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]];
const $ = id => document.getElementById(id);
const num = n => n == null ? "unknown" : n.toLocaleString("en-US");
const sum = list => list.reduce((a, b) => a + b, 0);

// As the command line writes them: two decimals, and never 1,024.00 of a unit.
function bytes(n) {
  for (const [name, unit] of UNITS)
    if (n >= unit - Math.floor(unit / 204800)) return (n / unit).toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 }) + " " + name;
  return n + " B";
}

function el(tag, text, cls) {
  const e = document.createElement(tag);
  if (text != null) e.textContent = text;
  if (cls) e.className = cls;
  return e;
}

function svg(parent, tag, attributes, text) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  if (text != null) e.textContent = text;
  parent.append(e);
  return e;
}

function row(cells, tag, cls) {
  const r = el("tr", null, cls);
  cells.forEach(([text, c], i) => {
    const cell = el(tag || (i ? "td" : "th"), text, c);
    if (cell.tagName === "TH") cell.scope = tag ? "col" : "row";
    r.append(cell);
  });
  return r;
}

function fill(table, head, rows) {
  table.textContent = "";
  const top = el("thead"), body = el("tbody");
  top.append(row(head, "th"));
  body.append(...rows);
  table.append(top, body);
}

// --- figures: rows are looked up and their parts added; nothing is interpolated

const S = { engine: 0, model: 0, card: 0, place: 0, kv: 0, seq: 0, ctx: 0 };
const E = () => D.engines[S.engine];

// What the engine says of one combination: null where this page does not hold it.
function figure(e, s) {
  const place = e.places[s.place], card = e.cards[s.card], kind = card[3];
  const each = e.kv.length * e.seqs.length * e.contexts.length;
  const at = s.place * each + (s.kv * e.seqs.length + s.seq) * e.contexts.length + s.ctx;
  const id = e.index[s.model][kind][at];
  if (id < 0) return null;
  const [what, ...held] = e.rows[id];
  const [grade, ...said] = e.said[what];
  if (!grade) return { refused: said[0] };
  const base = e.base[s.model][kind][s.place];
  const found = held.map((row, i) => {
    const parts = PARTS.map((_, p) => row[p] || 0);
    parts[0] += base[i] || 0;
    if (i) parts[5] += card[4];
    return { name: i ? card[1] + (place[0] > 1 ? " #" + (i - 1) : "") : place[0] ? "host" : "host memory", parts, used: sum(parts) + (row[6] || 0), below: (row[7] || 0) + (i ? card[8] : 0), capacity: i ? card[5] : null, usable: i ? card[6] : null };
  });
  const total = sum(found.map(d => sum(d.parts)));
  if (place[0] && card[7]) { // one memory for host and card
    found[1].used += found[0].used;
    found[1].below += found[0].below;
    found[1].parts = found[1].parts.map((n, i) => n + found[0].parts[i]);
    found.shift();
  } else if (place[0] && !found[0].used && e.name !== "llama.cpp") found.shift();
  for (const d of found) d.spare = d.usable == null ? null : d.usable - d.used;
  const cards = found.filter(d => d.usable != null);
  const full = cards.some(d => d.spare < 0);
  return { devices: found, cards, total, grade, unknown: said, fits: full ? false : cards.length && !said.length ? true : null };
}

// The device that is nearest to its limit, or the host.
const fullest = f => f.cards.reduce((a, b) => b.spare < a.spare ? b : a, f.cards[0] || f.devices[0]);

// --- controls

const CONTROLS = ["engine", "model", "card", "n", "ngl", "np", "k", "v"];
const layersOf = (e, p) => p[1] == null ? "all" : String(p[1]);
const seqOf = n => n ? String(n) : "1";
const unique = list => [...new Set(list)];

function options(id, list, value) {
  const select = $(id);
  select.textContent = "";
  let group = null, parent = select;
  for (const [v, text, g, off] of list) {
    if (g && g !== group) {
      parent = el("optgroup");
      parent.label = group = g;
      select.append(parent);
    }
    const o = el("option", text);
    o.value = v;
    o.disabled = !!off;
    parent.append(o);
  }
  select.value = value;
  select.disabled = list.length < 2;
}

function controls() {
  const e = E(), [n, ngl] = e.places[S.place], [k, v] = e.kv[S.kv];
  const held = s => figure(e, { ...S, ...s }) !== null;
  options("engine", D.engines.map((x, i) => [i, x.name + " " + x.release]), S.engine);
  options("model", e.models.map((m, i) => [i, m.label + (m.words.length ? " (predicted)" : "")]), S.model);
  options("card", e.cards.map((c, i) => [i, c[2] === "sizes" ? c[0].replace("GiB", " GiB card") : `${c[1]} (${bytes(c[5])})`, c[2]]), S.card);
  const shared = e.cards[S.card][7];
  options("n", unique(e.places.map(p => p[0])).map(x => [x, x ? x : "none: the CPU", "", (x > 1 && shared) || !held({ place: e.places.findIndex(p => p[0] === x) })]), n);
  const levels = e.places.map((p, i) => [p, i]).filter(([p]) => p[0] === n);
  options("ngl", levels.map(([p, i]) => [layersOf(e, p), p[1] == null ? (n ? "all" : "none") : `${p[1]} of ${e.n_layers + 1}`, "", !held({ place: i })]), layersOf(e, e.places[S.place]));
  options("np", e.seqs.map(x => [seqOf(x), seqOf(x)]), seqOf(e.seqs[S.seq]));
  options("k", unique(e.kv.map(x => x[0])).map(x => [x, x]), k);
  options("v", e.kv.filter(x => x[0] === k).map(x => [x[1], x[1]]), v);
  const c = $("ctx"), words = contextWords(e.contexts[S.ctx]);
  c.max = e.contexts.length - 1;
  c.value = S.ctx;
  c.setAttribute("aria-valuetext", words);
  $("ctx-out").textContent = words;
}

function contextWords(n) {
  const t = D.trained;
  return num(n) + " tokens" + (t === n ? " (as trained)" : t && n > t ? ` (${+(n / t).toFixed(2)} × trained)` : "");
}

// The nearest combination that this page holds: other places first, then the first model.
function settle() {
  const e = E();
  if (e.cards[S.card][7] && e.places[S.place][0] > 1) S.place = 1;
  if (figure(e, S) === null) S.place = Math.max(e.places.findIndex((p, i) => p[0] && figure(e, { ...S, place: i }) !== null), 0);
  if (figure(e, S) === null) S.model = 0;
}

function nearest(list, value) {
  return list.reduce((best, x, i) => Math.abs(x - value) < Math.abs(list[best] - value) ? i : best, 0);
}

function read() {
  const before = E(), engine = +$("engine").value;
  if (engine !== S.engine) return toEngine(engine);
  const e = before, n = +$("n").value, ngl = $("ngl").value, k = $("k").value, v = $("v").value;
  S.model = +$("model").value;
  S.card = +$("card").value;
  const same = e.places.findIndex(p => p[0] === n && layersOf(e, p) === ngl);
  S.place = same >= 0 ? same : e.places.findIndex(p => p[0] === n);
  S.seq = e.seqs.findIndex(x => seqOf(x) === $("np").value);
  const pair = e.kv.findIndex(x => x[0] === k && x[1] === v);
  S.kv = pair >= 0 ? pair : e.kv.findIndex(x => x[0] === k);
  S.ctx = +$("ctx").value;
}

// Another engine: the settings that both know stay.
function toEngine(i) {
  const a = E(), b = D.engines[i], old = { ...S };
  const index = (list, test) => Math.max(list.findIndex(test), 0);
  S.engine = i;
  S.model = index(b.models, m => m.label === a.models[old.model].label);
  S.card = index(b.cards, c => c[0] === a.cards[old.card][0]);
  S.place = index(b.places, p => p[0] === a.places[old.place][0] && p[1] === a.places[old.place][1]);
  S.kv = index(b.kv, p => p.join() === a.kv[old.kv].join());
  S.seq = index(b.seqs, n => n === a.seqs[old.seq]);
  S.ctx = nearest(b.contexts, a.contexts[old.ctx]);
}

// --- sharing

function fragment() {
  const e = E(), [n, ngl] = e.places[S.place], [k, v] = e.kv[S.kv], m = e.models[S.model];
  const p = new URLSearchParams({ engine: e.name, model: m.label, card: e.cards[S.card][0], n, ngl: ngl == null ? "all" : ngl, np: seqOf(e.seqs[S.seq]), k, v, ctx: e.contexts[S.ctx] });
  if (e.models.filter(x => x.label === m.label).length > 1) p.set("m", S.model);
  return "#" + p;
}

// Settings of a link; what this page does not know is passed over.
function restore(text) {
  const p = new URLSearchParams(text.replace(/^#/, ""));
  const engine = D.engines.findIndex(x => x.name === p.get("engine"));
  if (engine >= 0 && engine !== S.engine) toEngine(engine);
  const e = E(), [n0, g0] = e.places[S.place], [k0, v0] = e.kv[S.kv];
  const put = (key, i) => { if (i >= 0) S[key] = i; };
  put("model", e.models.findIndex((m, i) => p.has("m") ? i === +p.get("m") : m.label === p.get("model")));
  put("card", e.cards.findIndex(c => c[0] === p.get("card")));
  const n = p.get("n") ?? n0, ngl = p.get("ngl") ?? (g0 == null ? "all" : g0);
  put("place", e.places.findIndex(x => String(x[0]) === String(n) && layersOf(e, x) === String(ngl)));
  put("kv", e.kv.findIndex(x => x[0] === (p.get("k") ?? k0) && x[1] === (p.get("v") ?? v0)));
  put("seq", e.seqs.findIndex(x => seqOf(x) === p.get("np")));
  if (+p.get("ctx") > 0) S.ctx = nearest(e.contexts, +p.get("ctx"));
}

const quoted = w => /^[\w./:@%+=,-]+$/.test(w) ? w : "'" + w.replace(/'/g, "'\"'\"'") + "'";

function command() {
  const e = E(), [n, ngl] = e.places[S.place], [k, v] = e.kv[S.kv], m = e.models[S.model];
  const words = ["inspector", "memory", m.target, "-e", e.name, ...m.words, "-c", e.contexts[S.ctx]];
  if (e.seqs[S.seq]) words.push("-np", e.seqs[S.seq]);
  if (k !== "auto") words.push("-ctk", k, "-ctv", v);
  if (n) words.push("--gpu", (n > 1 ? n + "x" : "") + e.cards[S.card][0]);
  if (n && ngl != null) words.push("-ngl", ngl);
  return words.map(w => quoted(String(w))).join(" ");
}

// --- the answer

function answer(f) {
  const e = E(), place = e.places[S.place], card = e.cards[S.card], box = $("answer"), v = $("verdict");
  const name = (place[0] > 1 ? place[0] + " × " : "") + (card[2] === "sizes" ? card[0].replace("GiB", " GiB card") : card[1]);
  v.textContent = "";
  const say = (cls, strong, rest) => {
    box.className = "card " + cls;
    v.append(el("b", strong), " " + rest);
  };
  const about = (f.grade === "modelled" ? "≈ " : "");
  if (f.refused !== undefined) say("no", "✘ " + e.name + " refuses:", f.refused);
  else if (!f.cards.length) say("maybe", about + bytes(f.total), "of host memory" + (f.unknown.length ? ", and what is not known" : ""));
  else {
    const d = fullest(f), of = `${about}${bytes(d.used)} of ${bytes(d.usable)} usable` + (place[0] > 1 ? " on the fullest" : "");
    if (f.fits === false) say("no", "✘ does not fit " + name + ":", `${of}, ${bytes(-d.spare)} too much`);
    else if (f.fits) say("yes", "✔ fits " + name + ":", `${of}, ${bytes(d.spare)} spare`);
    else say("maybe", "not known whether it fits " + name + ":", of);
  }
  const m = e.models[S.model], [k, w] = e.kv[S.kv];
  const parts = [m.label + (m.words.length ? " (predicted, no such file yet)" : ""), `${e.name} ${e.release}`, contextWords(e.contexts[S.ctx]), seqOf(e.seqs[S.seq]) + (seqOf(e.seqs[S.seq]) === "1" ? " sequence" : " sequences"), k === w ? "cache " + k : `K ${k}, V ${w}`];
  if (f.refused === undefined) parts.push("total " + bytes(f.total));
  if (f.unknown && f.unknown.length) parts.push("unknown and not counted: " + f.unknown.join(", "));
  $("settings").textContent = parts.join(" · ");
}

function bar(d, most) {
  const b = el("div", null, "bar" + (d.spare < 0 ? " over" : "")), scale = Math.max(d.usable || most, d.used) || 1;
  PARTS.forEach((part, i) => {
    if (!d.parts[i]) return;
    const s = el("span", null, part);
    s.style.width = 100 * d.parts[i] / scale + "%";
    s.title = `${WORDS[part]} ${bytes(d.parts[i])}`;
    b.append(s);
  });
  return b;
}

function parts(f) {
  const bars = $("bars"), t = $("parts"), several = f.devices && f.devices.length > 1;
  bars.textContent = t.textContent = "";
  $("smallest").textContent = "";
  if (f.refused !== undefined) return;
  for (const d of f.devices) {
    const used = d.below ? `${bytes(d.used)} at most (${bytes(d.used - d.below)} at the least)` : bytes(d.used);
    const of = d.usable == null ? used : `${used} of ${bytes(d.usable)} usable (${bytes(d.capacity)} less ${bytes(d.capacity - d.usable)}), ${d.spare < 0 ? bytes(-d.spare) + " too much" : bytes(d.spare) + " spare"}`;
    const p = el("p", null, "dim");
    p.append(el("strong", d.name), ": " + of);
    p.dataset.used = d.used;
    bars.append(p, bar(d, Math.max(...f.cards.map(c => c.usable), 0)));
  }
  const head = [["part"], ...(several ? f.devices.map(d => [d.name, "n dev"]) : []), ["total", "n"], ["bytes", "n exact"]];
  const line = (name, values, cls) => row([[name], ...(several ? values.map(n => [bytes(n), "n dev"]) : []), [bytes(sum(values)), "n"], [num(sum(values)), "n exact"]], null, cls);
  const rows = PARTS.map((part, i) => [part, f.devices.map(d => d.parts[i])]).filter(([, v]) => sum(v)).map(([part, v]) => {
    const r = line("", v);
    r.firstChild.append(el("span", null, "key " + part), WORDS[part]);
    r.dataset.part = part;
    return r;
  });
  rows.push(line(`total (${f.grade})`, f.devices.map(d => sum(d.parts)), "sum"));
  fill(t, head, rows);
  t.prepend(el("caption", "Bytes of each part", "sr"));
  t.dataset.total = f.total;
  t.dataset.fits = f.fits;
  smallest();
}

function smallest() {
  const e = E(), n = e.places[S.place][0];
  if (!n) return;
  const held = e.cards.map((c, i) => [c, i]).filter(([c, i]) => c[2] !== "sizes" && (!c[7] || n === 1) && (figure(e, { ...S, card: i }) || {}).fits)
    .map(([c]) => c).sort((a, b) => a[6] - b[6] || a[5] - b[5]);
  const what = e.places[S.place][1] == null ? "all of it" : "this share of it";
  $("smallest").textContent = held.length ? `Smallest that holds ${what}: ${n > 1 ? n + " × " : ""}${held[0][1]} (${bytes(held[0][6])} usable).` : "No card listed here holds it.";
}

// --- the plot

const short = n => n >= 1048576 && n % 1048576 === 0 ? n / 1048576 + "M" : n >= 1024 ? +(n / 1024).toFixed(1) + "k" : String(n);

function plot() {
  const e = E(), box = $("plot"), W = Math.max(Math.min(box.parentNode.clientWidth - 34, 900), 280), H = W < 500 ? 280 : 340;
  const L = 54, R = 14, T = 16, B = 44, card = e.cards[S.card], n = e.places[S.place][0];
  box.textContent = "";
  box.setAttribute("viewBox", `0 0 ${W} ${H}`);
  const points = e.contexts.map((c, i) => ({ c, i, f: figure(e, { ...S, ctx: i }) })).filter(p => p.f && p.f.refused === undefined);
  for (const p of points) p.d = fullest(p.f);
  const title = svg(box, "title", { id: "plot-t" }), desc = svg(box, "desc", { id: "plot-d" });
  title.textContent = "Memory against context, " + (n ? (n > 1 ? "fullest of " + n + " cards" : card[1]) : "host memory");
  table(e, points);
  if (!points.length) return void ($("plot-note").textContent = desc.textContent = "Nothing is known of these settings.");
  const now = points.find(p => p.i === S.ctx), most = Math.max(...points.map(p => p.d.used));
  const top = n ? Math.min(most, Math.max(card[6] * 1.7, now ? now.d.used * 1.15 : 0)) : most;
  const high = Math.max(top, n ? card[6] * 1.12 : 0) * 1.04;
  const lo = Math.log2(points[0].c), hi = Math.log2(points[points.length - 1].c);
  const X = c => L + (W - L - R) * (hi > lo ? (Math.log2(c) - lo) / (hi - lo) : .5), Y = v => T + (H - T - B) * (1 - v / high);
  const clip = svg(svg(box, "defs", {}), "clipPath", { id: "area" });
  svg(clip, "rect", { x: L, y: T, width: W - L - R, height: H - T - B });
  axes(box, { W, H, L, R, T, B, X, Y, high, points });
  const area = svg(box, "g", { "clip-path": "url(#area)" });
  let below = points.map(() => 0);
  PARTS.forEach((part, k) => {
    const above = points.map((p, i) => below[i] + p.d.parts[k]);
    if (above.some((v, i) => v > below[i])) {
      const line = [...points.map((p, i) => `${X(p.c)},${Y(above[i])}`), ...points.map((p, i) => `${X(p.c)},${Y(below[i])}`).reverse()];
      svg(svg(area, "polygon", { points: line.join(" "), class: part, opacity: .85 }), "title", {}, WORDS[part]);
    }
    below = above;
  });
  svg(area, "polyline", { points: points.map(p => `${X(p.c)},${Y(p.d.used)}`).join(" "), class: "edge" });
  for (const p of points) svg(area, "circle", { cx: X(p.c), cy: Y(p.d.used), r: 2.5, class: "strong" });
  if (n) limits(box, e, card, { W, L, R, X, Y, high });
  if (now) svg(box, "line", { x1: X(now.c), x2: X(now.c), y1: T, y2: H - B, class: "at" });
  desc.textContent = $("plot-note").textContent = n ? crossing(area, points, card, X, Y) : `From ${bytes(points[0].d.used)} at ${num(points[0].c)} tokens to ${bytes(most)} at ${num(points[points.length - 1].c)}.`;
  points.forEach((p, i) => {
    const from = i ? (X(points[i - 1].c) + X(p.c)) / 2 : L, to = i < points.length - 1 ? (X(points[i + 1].c) + X(p.c)) / 2 : W - R;
    svg(svg(box, "rect", { x: from, y: T, width: Math.max(to - from, 1), height: H - T - B, class: "hit", "data-ctx": p.i }), "title", {}, `${num(p.c)} tokens: ${bytes(p.d.used)}`);
  });
}

function axes(box, a) {
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000].map(x => x * (a.high < 2 ** 31 ? 2 ** 27 : 2 ** 30)).find(s => a.high / s <= 6) || a.high;
  for (let v = 0; v <= a.high; v += step) {
    svg(box, "line", { x1: a.L, x2: a.W - a.R, y1: a.Y(v), y2: a.Y(v), class: "grid" });
    svg(box, "text", { x: a.L - 6, y: a.Y(v) + 4, "text-anchor": "end" }, step < 2 ** 30 ? v / 2 ** 20 : v / 2 ** 30);
  }
  svg(box, "text", { x: 2, y: 11 }, step < 2 ** 30 ? "MiB" : "GiB");
  let last = -99;
  for (const p of a.points) {
    const x = a.X(p.c);
    svg(box, "line", { x1: x, x2: x, y1: a.H - a.B, y2: a.H - a.B + 4, class: "grid" });
    if (x - last < 32 || (p.c !== D.trained && p.c & (p.c - 1))) continue;
    svg(box, "text", { x, y: a.H - a.B + 17, "text-anchor": "middle", class: p.c === D.trained ? "strong" : "" }, short(p.c));
    last = x;
  }
  svg(box, "text", { x: (a.L + a.W - a.R) / 2, y: a.H - 6, "text-anchor": "middle" }, "tokens of context (doubling)");
}

function limits(box, e, card, a) {
  const drawn = [a.Y(card[6])];
  svg(box, "line", { x1: a.L, x2: a.W - a.R, y1: drawn[0], y2: drawn[0], class: "limit" });
  svg(box, "text", { x: a.L + 6, y: drawn[0] - 5, class: "strong" }, `${card[2] === "sizes" ? card[0].replace("GiB", " GiB card") : card[1]}: ${bytes(card[6])} usable`);
  for (const c of e.cards.filter(c => c[2] === "sizes" && [8, 12, 16, 24, 32, 48, 80, 141].includes(parseInt(c[0], 10)))) {
    const y = a.Y(c[6]);
    if (c[6] > a.high || drawn.some(d => Math.abs(d - y) < 24)) continue;
    drawn.push(y);
    svg(box, "line", { x1: a.L, x2: a.W - a.R, y1: y, y2: y, class: "other" });
    svg(box, "text", { x: a.L + 6, y: y - 4 }, c[0].replace("GiB", " GiB card"));
  }
}

// Where the curve meets the limit; in words only what is known: the contexts of this page on both sides of it.
function crossing(area, points, card, X, Y) {
  const i = points.findIndex(p => p.d.spare < 0);
  if (i < 0) return `Every context shown fits, up to ${num(points[points.length - 1].c)} tokens.`;
  if (!i) return `No context shown fits: ${num(points[0].c)} tokens take ${bytes(-points[0].d.spare)} too much.`;
  const a = points[i - 1], b = points[i], t = a.d.spare / (a.d.spare - b.d.spare);
  svg(area, "circle", { cx: X(a.c) + t * (X(b.c) - X(a.c)), cy: Y(card[6]), r: 6, class: "cross" });
  return `Of the contexts on this page, ${num(a.c)} tokens is the longest that fits; ${num(b.c)} takes ${bytes(-b.d.spare)} too much.`;
}

function table(e, points) {
  fill($("plot-table"), [["tokens", "n"], ["on the fullest", "n"], ["total", "n"], ["bytes", "n"], ["fits"]], points.map(p => row([
    [num(p.c), "n"], [bytes(p.d.used), "n"], [bytes(p.f.total), "n"], [num(p.f.total), "n"], [{ true: "yes", false: "no", null: "–" }[p.f.fits]]
  ], null, p.i === S.ctx ? "now" : "")));
}

// --- layers

function layerRows(e) {
  const c = e.caches, weights = e.models[S.model].layers, n = e.places[S.place][0];
  if (!c.layers) return [];
  const each = (S.kv * e.seqs.length + S.seq) * e.contexts.length + S.ctx;
  const set = c.sets[(c.index[n ? 1 : 0] || c.index[0])[each]];
  const at = [];
  for (const [device, times] of e.runs[S.place] || []) at.push(...Array(times).fill(device));
  return c.layers.map(([kind, by, cls], i) => ({ i, kind, by, weights: weights[i], cells: set && set[cls][0], cache: set ? set[cls][1] : null, device: at.length ? at[i] : n ? 1 : 0 }));
}

function layers() {
  const e = E(), rows = layerRows(e), box = $("layers"), n = e.places[S.place][0];
  box.textContent = "";
  const title = svg(box, "title", { id: "layers-t" }, "Weights and cache of each layer"), desc = svg(box, "desc", { id: "layers-d" });
  const names = i => !i ? "host" : n > 1 ? "card #" + (i - 1) : "card";
  fill($("layers-table"), [["layer"], ["kind"], ["weights", "n"], ["cache", "n"], ["cells", "n"], ["on"], ["decided by"]], rows.map(r => row([
    [r.i], [r.kind], [r.weights == null ? "unknown" : bytes(r.weights), "n"], [r.cache == null ? "unknown" : bytes(r.cache), "n"], [r.cells == null ? "" : num(r.cells), "n"], [e.runs.length ? names(r.device) : n > 1 ? "each a share" : names(r.device)], [r.by]
  ])));
  const W = Math.max(Math.min(box.parentNode.clientWidth - 34, 900), 280), H = 190, L = 54, B = 22, T = 16;
  const most = Math.max(...rows.map(r => (r.weights || 0) + (r.cache || 0)), 1), w = (W - L) / Math.max(rows.length, 1);
  box.setAttribute("viewBox", `0 0 ${W} ${H}`);
  const Y = v => T + (H - T - B) * (1 - v / most);
  svg(box, "text", { x: L - 6, y: T + 8, "text-anchor": "end" }, most < 2 ** 30 ? Math.round(most / 2 ** 20) : (most / 2 ** 30).toFixed(1));
  svg(box, "text", { x: 2, y: 11 }, most < 2 ** 30 ? "MiB" : "GiB");
  svg(box, "line", { x1: L, x2: W, y1: H - B, y2: H - B, class: "grid" });
  for (const r of rows) {
    const x = L + r.i * w, a = r.weights || 0, c = r.cache || 0, gap = w > 4 ? 1 : 0;
    const g = svg(box, "g", {});
    svg(g, "title", {}, `layer ${r.i}, ${r.kind}: weights ${bytes(a)}, cache ${bytes(c)}`);
    svg(g, "rect", { x, y: Y(a), width: w - gap, height: Y(0) - Y(a), class: "d" + Math.min(e.runs.length ? r.device : n ? 1 : 0, 4) });
    svg(g, "rect", { x, y: Y(a + c), width: w - gap, height: Y(a) - Y(a + c), class: "cache" });
    if (!(r.i % Math.ceil(32 / w))) svg(box, "text", { x: x + w / 2, y: H - 6, "text-anchor": "middle" }, r.i);
  }
  const note = $("layers-note"), outside = e.models[S.model].layers[rows.length];
  note.textContent = "";
  const key = (cls, text) => {
    const word = el("span", text, "word");
    word.prepend(el("span", null, "key " + cls));
    note.append(word);
  };
  if (rows.some(r => r.weights)) for (const d of unique(rows.map(r => e.runs.length ? r.device : n ? 1 : 0))) key("d" + Math.min(d, 4), e.runs.length || n < 2 ? "weights on the " + names(d) : "weights, a share on each card");
  key("cache", "cache");
  if (outside) note.append(`Outside the layers (embeddings, output): ${bytes(outside)}.`);
  desc.textContent = rows.length ? `${rows.length} layers; the heaviest holds ${bytes(most)} of weights and cache.` : "No layers are known.";
}

// --- tensors

const COLUMNS = [["name", 0], ["shape", 1], ["type", 2], ["elements", 3, "n"], ["bytes", 4, "n"], ["offset", 5, "n"]];
let sorted = 5, down = false, shown = 200;

function tensorHead() {
  const r = el("tr");
  for (const [text, i, cls] of COLUMNS) {
    const h = el("th", null, cls), b = el("button", text);
    h.scope = "col";
    b.type = "button";
    b.addEventListener("click", () => {
      down = sorted === i && !down;
      sorted = i;
      tensors();
    });
    h.append(b);
    r.append(h);
  }
  $("list").tHead.append(r);
}

function tensors() {
  const q = $("find").value.trim().toLowerCase(), list = $("list");
  const rows = D.tensors.filter(x => x[0].toLowerCase().includes(q));
  const value = x => sorted === 1 ? sum(x[1].map(Math.abs)) : x[sorted];
  rows.sort((a, b) => (value(a) > value(b) ? 1 : value(a) < value(b) ? -1 : 0) * (down ? -1 : 1));
  [...list.tHead.rows[0].cells].forEach((h, i) => {
    if (COLUMNS[i][1] === sorted) h.setAttribute("aria-sort", down ? "descending" : "ascending");
    else h.removeAttribute("aria-sort");
  });
  list.tBodies[0].textContent = "";
  list.tBodies[0].append(...rows.slice(0, shown).map(x => row([
    [x[0], "name"], [x[1].join(" × ")], [x[2]], [num(x[3]), "n"], [x[4] == null ? "unknown" : num(x[4]), "n"], [num(x[5]), "n"]
  ])));
  $("count").textContent = `${num(rows.length)} tensors` + (rows.length > shown ? `, the first ${num(shown)} shown` : "");
  $("more").hidden = rows.length <= shown;
}

// --- all of it

function draw() {
  settle();
  const f = figure(E(), S) || { refused: "these settings are not on this page" };
  controls();
  answer(f);
  parts(f);
  plot();
  layers();
  $("command").textContent = command();
  $("share").href = fragment();
}

function changed() {
  read();
  draw();
  history.replaceState(null, "", fragment());
}

function facts() {
  const known = Object.fromEntries(D.facts), about = ["arch", "n_params", "n_layers", "n_ctx_train"].filter(k => known[k] && known[k] !== "unknown");
  const words = { arch: "", n_params: " parameters", n_layers: " layers", n_ctx_train: " tokens trained" };
  $("about").textContent = about.map(k => known[k] + words[k]).join(" · ");
  fill($("facts"), [["fact"], ["value"]], D.facts.map(([k, v]) => row([[k], [v, "name"]])));
  fill($("types"), [["type"], ["tensors", "n"], ["elements", "n"], ["bytes", "n"]], D.types.map(d => row([[d[0]], [num(d[1]), "n"], [num(d[2]), "n"], [bytes(d[3]), "n"]])));
  for (const n of D.notes) $("notes").append(el("li", n));
}

facts();
tensorHead();
tensors();
$("find").addEventListener("input", tensors);
$("more").addEventListener("click", () => { shown += 1000; tensors(); });
if (D.engines.length) {
  S.ctx = nearest(E().contexts, D.first.ctx || 8192);
  S.place = Math.max(E().places.findIndex(p => p[0] === D.first.n && p[1] == null), 0);
  const fitting = E().models.findIndex((m, i) => !m.words.length && (figure(E(), { ...S, model: i }) || {}).fits);
  S.model = Math.max(fitting, 0); // the finest form that is there and fits
  if (location.hash.length > 1) restore(location.hash);
  for (const id of [...CONTROLS, "ctx"]) $(id).addEventListener("input", changed);
  $("calculator").addEventListener("submit", event => event.preventDefault());
  $("plot").addEventListener("click", event => {
    const i = event.target.getAttribute("data-ctx");
    if (i !== null) { $("ctx").value = i; changed(); }
  });
  $("copy").addEventListener("click", () => {
    const text = location.href.split("#")[0] + fragment();
    const copied = navigator.clipboard ? navigator.clipboard.writeText(text) : Promise.reject();
    copied.then(() => $("copied").textContent = "copied", () => { location.hash = fragment(); $("copied").textContent = "it is in the address bar"; });
  });
  addEventListener("hashchange", () => { restore(location.hash); draw(); });
  addEventListener("resize", () => { plot(); layers(); });
  draw();
} else $("memory").hidden = true;
