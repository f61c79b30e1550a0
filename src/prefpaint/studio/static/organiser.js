"use strict";
// Names are shown only through textContent.
const $ = (id) => document.getElementById(id);
const number = (value, digits = 2) => (value === null ? "–" : value.toFixed(digits));
const COLUMNS = [
  ["rater", (r) => r.name + (r.blocked ? " (blocked)" : "")],
  ["pages", (r) => r.pages],
  ["cannot judge", (r) => r.cannot_judge],
  ["s / page", (r) => number(r.seconds, 0)],
  ["last seen, UTC", (r) => r.last_seen || "–"],
  ["calibration", (r) => (r.calibration === null ? "–" : `${Math.round(100 * r.calibration)} %`)],
  ["consistency", (r) => (r.self_alpha === null ? "–" : `${number(r.self_alpha)} (±${number(r.self_difference, 1)})`)],
  ["with others", (r) => number(r.with_others)],
  ["to check", (r) => r.flags.join("; ")],
];

function cell(tag, text) { const made = document.createElement(tag); made.textContent = String(text); return made; }

function tile(title, value) {
  const made = document.createElement("li"), big = document.createElement("b");
  big.textContent = value;
  made.append(big, title);
  return made;
}

async function refresh() {
  const response = await fetch("/api/overview");
  const found = await response.json().catch(() => ({}));
  if (!response.ok) { $("saved").textContent = found.detail || response.statusText; return; }
  $("saved").textContent = `as of ${new Date().toLocaleTimeString()}`;
  const prompts = found.prompts, agreement = found.agreement;
  $("tiles").replaceChildren(
    tile(`of ${prompts.total} prompts have ${prompts.overlap} raters`, String(prompts.complete)),
    tile("prompts begun", String(prompts.begun)),
    tile("ratings", found.ratings.toLocaleString()),
    tile("α structure", number(agreement.structure)),
    tile("α texture", number(agreement.texture)),
    tile("α overall", number(agreement.overall)),
    tile("order alike, two raters", agreement.order_alike === null ? "–" : `${Math.round(100 * agreement.order_alike)} %`),
  );
  $("head").replaceChildren(...COLUMNS.map(([title]) => cell("th", title)));
  $("raters").replaceChildren(...found.raters.map((rater) => {
    const row = document.createElement("tr");
    row.append(...COLUMNS.map(([, read]) => cell("td", read(rater))));
    if (rater.flags.length) row.lastElementChild.className = "flag";
    return row;
  }));
}

refresh();
setInterval(refresh, 10000);
