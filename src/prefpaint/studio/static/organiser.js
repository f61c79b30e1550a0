"use strict";
// Names are shown only through textContent.
const $ = (id) => document.getElementById(id);
const number = (value, digits = 2) => (value === null ? "–" : value.toFixed(digits));
const percent = (value) => (value === null ? "–" : `${Math.round(100 * value)} %`);
const BOTH = [
  ["rater", (r) => r.name + (r.blocked ? " (blocked)" : "")],
  ["pages", (r) => r.pages],
  ["cannot judge", (r) => r.cannot_judge],
  ["s / page", (r) => number(r.seconds, 0)],
  ["last seen, UTC", (r) => r.last_seen || "–"],
  ["calibration", (r) => percent(r.calibration)],
];
const SCORES = [
  ["consistency", (r) => (r.self_alpha === null ? "–" : `${number(r.self_alpha)} (±${number(r.self_difference, 1)})`)],
  ["with others", (r) => number(r.with_others)],
];
const CHOICES = [
  ["consistency", (r) => percent(r.self_same)],
  ["with others", (r) => percent(r.choices_with_others)],
];
const LAST = [["to check", (r) => r.flags.join("; ")]];

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
  const prompts = found.prompts, agreement = found.agreement, scored = found.question === "scores";
  $("tiles").replaceChildren(
    tile(`of ${prompts.total} prompts have ${prompts.overlap} raters`, String(prompts.complete)),
    tile("prompts begun", String(prompts.begun)),
    ...(scored || found.ratings ? [
      tile("ratings", found.ratings.toLocaleString()),
      tile("α structure", number(agreement.structure)),
      tile("α texture", number(agreement.texture)),
      tile("α overall", number(agreement.overall)),
      tile("order alike, two raters", percent(agreement.order_alike)),
    ] : []),
    ...(!scored || found.comparisons ? [
      tile("comparisons", found.comparisons.toLocaleString()),
      tile("choose alike, two raters", percent(found.choices_alike)),
    ] : []),
  );
  $("of-scores").hidden = !scored;
  $("of-choices").hidden = scored;
  const columns = [...BOTH, ...(scored ? SCORES : CHOICES), ...LAST];
  $("head").replaceChildren(...columns.map(([title]) => cell("th", title)));
  $("raters").replaceChildren(...found.raters.map((rater) => {
    const row = document.createElement("tr");
    row.append(...columns.map(([, read]) => cell("td", read(rater))));
    if (rater.flags.length) row.lastElementChild.className = "flag";
    return row;
  }));
}

refresh();
setInterval(refresh, 10000);
