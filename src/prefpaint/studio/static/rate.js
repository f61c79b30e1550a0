"use strict";
// Everything shown as text goes through textContent; nothing from the server is ever taken as HTML.
const $ = (id) => document.getElementById(id);
const RETRY_MS = 1500;
const FILLS = { original: "the photograph itself: good", noise: "noise: bad", flat: "one colour: bad" };
const QUESTIONS = { best: "Which fill is best?", pairs: "Which fill is better?" };
const TIE = 0;
// Nobody chooses sooner than this after a page has opened: it is the second half of a double click.
const GLANCE_MS = 400;
let about = null, page = null, scores = [], choice = null, at = [0, 0], opened = 0, flipped = false, sending = false, after = null;

class Refused extends Error { constructor(status, detail) { super(detail); this.status = status; } }

async function call(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) { options.headers["Content-Type"] = "application/json"; options.body = JSON.stringify(body); }
  const response = await fetch(path, options);
  const found = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, String(found.detail || response.statusText));
  return found;
}

// Keeps trying while the server is away or busy: what is not acknowledged is not forgotten.
async function persist(path, body) {
  for (;;) {
    try {
      const found = await call("POST", path, body);
      return found;
    } catch (error) {
      if (error instanceof Refused && error.status < 500) throw error;
      status("not saved yet: the studio cannot be reached, trying again", true);
      await new Promise((go) => setTimeout(go, RETRY_MS));
    }
  }
}

function status(text, bad = false) { $("saved").textContent = text; $("saved").classList.toggle("bad", bad); }
function show(section) { for (const id of ["sign-in", "work", "feedback", "finished"]) $(id).hidden = id !== section; }
function clock() { return new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" }); }

function progress(found) {
  const parts = [`${found.done} done`, `about ${found.left} left`];
  if (found.seconds !== null) {
    parts.push(`${found.seconds.toFixed(0)} s per page`);
    const minutes = Math.max(1, Math.round(found.seconds * found.left / 60));
    if (found.left) parts.push(minutes > 90 ? `${(minutes / 60).toFixed(1)} h to go` : `${minutes} min to go`);
  }
  $("progress").textContent = parts.join(" · ");
}

function picture(place) { return `/image/${page.id}/${place}`; }

function candidate(index) {
  const figure = document.createElement("figure");
  const image = document.createElement("img");
  image.src = picture(index + 1);
  image.alt = `Candidate ${index + 1}`;
  image.addEventListener("click", () => { at[0] = index; mark(); zoom(); });
  // Shown next to the fill on a phone, which has no room for a separate picture.
  const before = document.createElement("img");
  before.src = picture(0);
  before.alt = "The picture with its hole in grey";
  before.className = "before";
  const caption = document.createElement("figcaption");
  caption.textContent = `Candidate ${index + 1}`;
  figure.append(image, before, caption, page.question === "scores" ? scoring(index) : choosing(index));
  return figure;
}

function choosing(index) {
  const button = document.createElement("button"), key = document.createElement("kbd"), word = page.question === "pairs" ? "better" : "best";
  button.type = "button";
  button.className = "choose";
  key.textContent = String(index + 1);
  button.append(`This is ${word} `, key);
  button.setAttribute("aria-label", `Candidate ${index + 1} is ${word}`);
  button.addEventListener("click", () => choose(index + 1));
  return button;
}

function scoring(index) {
  const criteria = document.createElement("div");
  criteria.className = "criteria";
  about.criteria.forEach((criterion, row) => {
    const set = document.createElement("fieldset"), legend = document.createElement("legend"), line = document.createElement("div");
    legend.textContent = criterion;
    line.className = "scores";
    line.setAttribute("role", "radiogroup");
    line.setAttribute("aria-label", `${criterion} of candidate ${index + 1}`);
    for (let value = about.lowest; value <= about.highest; value++) {
      const button = document.createElement("button");
      button.type = "button";
      button.tabIndex = -1;
      button.textContent = String(value);
      button.setAttribute("role", "radio");
      button.addEventListener("click", () => { at = [index, row]; give(value); });
      line.append(button);
    }
    set.append(legend, line);
    criteria.append(set);
  });
  return criteria;
}

function ask(question) {
  document.body.dataset.question = question;
  $("question").hidden = question === "scores";
  $("question").textContent = QUESTIONS[question] || "";
}

function open(found) {
  progress(found.progress);
  page = found.page;
  if (!page) { show("finished"); return; }
  // Not the studio's: it may have been restarted with another question since this tab was opened.
  ask(page.question);
  scores = page.given || Array.from({ length: page.candidates }, () => about.criteria.map(() => null));
  choice = page.chosen;
  at = [Math.max(choice - 1, 0), 0];
  flipped = false;
  opened = performance.now();
  $("kind").hidden = !page.calibration;
  $("text-prompt").hidden = !page.text_prompt;
  $("text-prompt").querySelector("strong").textContent = page.text_prompt;
  $("incomplete").querySelector("img").src = picture(0);
  $("candidates").replaceChildren(...scores.map((_, index) => candidate(index)));
  show("work");
  mark();
  if (document.activeElement) document.activeElement.blur();
  window.scrollTo(0, 0);
}

function mark() {
  $("candidates").querySelectorAll("figure").forEach((figure, index) => {
    figure.classList.toggle("current", index === at[0]);
    figure.querySelector("img").src = picture(flipped ? 0 : index + 1);
    figure.querySelectorAll(".choose").forEach((button) => { button.setAttribute("aria-pressed", String(choice === index + 1)); button.disabled = sending; });
    figure.querySelectorAll("fieldset").forEach((set, row) => {
      set.classList.toggle("current", index === at[0] && row === at[1]);
      set.querySelectorAll("button").forEach((button, value) => button.setAttribute("aria-checked", String(scores[index][row] === value + about.lowest)));
    });
  });
  $("flip").setAttribute("aria-pressed", String(flipped));
  $("tie").setAttribute("aria-pressed", String(choice === TIE));
  $("tie").disabled = sending;
  $("send").disabled = sending || scores.some((row) => row.includes(null));
  if ($("zoom").open) $("zoom").querySelector("img").src = picture(flipped ? 0 : at[0] + 1);
}

function give(value) {
  scores[at[0]][at[1]] = value;
  if (at[1] + 1 < about.criteria.length) at[1]++;
  else if (at[0] + 1 < scores.length) at = [at[0] + 1, 0];
  mark();
}

// Whether nobody can have looked at the page yet.
function unseen() {
  return performance.now() - opened < GLANCE_MS || [...$("pictures").querySelectorAll("img")].some((image) => !image.complete);
}

// A choice is the whole answer, so it is sent at once; undo takes it back.
function choose(place) {
  if (sending || !page || place > page.candidates || unseen()) return;
  if ($("zoom").open) $("zoom").close();
  choice = place;
  if (place !== TIE) at = [place - 1, 0];
  answer("rated");
}

function move(across, down) {
  const wide = scores.length, high = about.criteria.length;
  at = [(at[0] + across + wide) % wide, (at[1] + down + high) % high];
  mark();
}

function zoom() { if ($("zoom").open) { $("zoom").close(); return; } $("zoom").showModal(); mark(); }
function flip() { flipped = !flipped; mark(); }

async function exchange(path, body) {
  if (sending) return null;
  sending = true;
  if (page) mark();
  status("saving …");
  try {
    const found = await persist(path, body);
    status(`saved ${clock()}`);
    return found;
  } catch (error) {
    if (error.status === 401) { await begin(); return null; }
    status(error.message, true);
    // Another page by now, or one that asks for something else: show it as it is.
    if (error.status === 404 || error.status === 422) open(await persist("/api/page"));
    return null;
  } finally {
    sending = false;
    if (page) mark();
  }
}

function newKey() { return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join(""); }

async function answer(verdict) {
  if (!page) return;
  const scored = page.question === "scores";
  if (verdict === "rated" && scored && $("send").disabled) return;
  const key = newKey();
  const seconds = Math.min((performance.now() - opened) / 1000, 86400);
  const shown = page;
  const found = await exchange("/api/answer", { page: page.id, key, verdict, seconds, scores: verdict === "rated" && scored ? scores : [], choice: verdict === "rated" && !scored ? choice : null });
  if (!found) return;
  if (found.feedback) tell(shown, found); else open(found);
}

function tell(shown, found) {
  after = found;
  $("feedback-title").textContent = found.feedback.passed ? "Well spotted." : "Look again: not as expected.";
  $("known").replaceChildren(...found.feedback.fills.map((fill, index) => {
    const figure = document.createElement("figure"), image = document.createElement("img"), caption = document.createElement("figcaption");
    image.src = `/image/${shown.id}/${index + 1}`;
    image.alt = fill;
    const said = shown.question === "scores" ? `; you said ${scores[index][about.criteria.indexOf("overall")]}` : choice === index + 1 ? "; your choice" : "";
    caption.textContent = FILLS[fill] + said;
    figure.append(image, caption);
    return figure;
  }));
  page = null;
  show("feedback");
}

function goOn() { const found = after; after = null; open(found); }

async function undo() { const found = await exchange("/api/undo", { key: newKey() }); if (found) open(found); }

async function begin() {
  // A link of the organiser carries name and token after the #, which no server ever sees.
  const link = new URLSearchParams(location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
  about = await call("GET", "/api/studio");
  if (about.rater && link.get("token")) { await call("POST", "/api/sign-out"); about = await call("GET", "/api/studio"); }
  const rater = about.rater;
  ask(about.question);
  $("who").textContent = rater ? rater.name : "";
  $("sign-out").hidden = $("help-button").hidden = !rater;
  $("organiser").hidden = !(rater && rater.organiser);
  if (rater) { open(await persist("/api/page")); return; }
  page = null;
  $("progress").textContent = "";
  $("token-hint").textContent = about.needs_token ? "Your organiser gave you a link or a token." : "On this machine a name is enough, unless you were given a token.";
  $("token").required = about.needs_token;
  show("sign-in");
  $("name").value = link.get("name") || $("name").value;
  $("token").value = link.get("token") || "";
  (link.get("token") ? $("sign-in").querySelector("button") : $("name")).focus();
}

$("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("sign-in-error").textContent = "";
  try {
    await call("POST", "/api/sign-in", { name: $("name").value, token: $("token").value });
    $("token").value = "";
    await begin();
    let seen = "";
    try { seen = localStorage.getItem("help-seen"); localStorage.setItem("help-seen", "1"); } catch { seen = "1"; }
    if (!seen) $("help").showModal();
  } catch (error) { $("sign-in-error").textContent = error.message; }
});
$("sign-out").addEventListener("click", async () => { await call("POST", "/api/sign-out"); status(""); await begin(); });
$("send").addEventListener("click", () => answer("rated"));
$("tie").addEventListener("click", () => choose(TIE));
$("cannot").addEventListener("click", () => answer("cannot judge"));
$("flip").addEventListener("click", flip);
$("undo").addEventListener("click", undo);
$("undo-finished").addEventListener("click", undo);
$("go-on").addEventListener("click", goOn);
$("help-button").addEventListener("click", () => $("help").showModal());
$("help-close").addEventListener("click", () => $("help").close());
$("zoom").addEventListener("click", () => $("zoom").close());
$("incomplete").querySelector("img").addEventListener("click", () => { flipped = true; $("zoom").showModal(); mark(); });

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.target instanceof HTMLInputElement || $("help").open) return;
  const key = event.key.toLowerCase();
  if (key === "?" && about && about.rater) { $("help").showModal(); event.preventDefault(); return; }
  if (!$("feedback").hidden) { if (key === "enter") { goOn(); event.preventDefault(); } return; }
  if (key === "u" && (!$("work").hidden || !$("finished").hidden)) { undo(); return; }
  if ($("work").hidden || sending) return;
  const arrows = { arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, -1], arrowdown: [0, 1] };
  const value = /^[0-9]$/.test(key) ? Number(key) : -1, choosing = page.question !== "scores";
  if (choosing && value > 0) choose(value);
  else if (key === "t" && page.question === "pairs") choose(TIE);
  // Enter presses the button that has the focus, and nothing else.
  else if (choosing && (value === 0 || key === "enter")) return;
  else if (value >= about.lowest && value <= about.highest) give(value);
  else if (arrows[key]) move(...arrows[key]);
  else if (key === "enter") { if ($("zoom").open) $("zoom").close(); answer("rated"); }
  else if (key === "x") answer("cannot judge");
  else if (key === "f") flip();
  else if (key === "z") zoom();
  else return;
  event.preventDefault();
});

addEventListener("hashchange", () => { if (location.hash) begin(); });
begin().catch((error) => status(error.message, true));
