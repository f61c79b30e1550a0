"use strict";
const $ = (id) => document.getElementById(id);
const canvas = $("canvas"), context = canvas.getContext("2d"), SIDE = canvas.width;
const hole = document.createElement("canvas");
hole.width = hole.height = SIDE;
const holes = hole.getContext("2d"), picture = document.createElement("canvas");
picture.width = picture.height = SIDE;
let about = null, next = 0, last = null;

async function call(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) { options.headers["Content-Type"] = "application/json"; options.body = JSON.stringify(body); }
  const response = await fetch(path, options).catch(() => { throw new Error("the page's server does not answer; is kedro try still running?"); });
  const found = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(String(found.detail || response.statusText)), { status: response.status });
  return found;
}

function status(text, bad = false) { $("status").textContent = text; $("status").classList.toggle("bad", bad); }

function draw() {
  context.drawImage(picture, 0, 0);
  context.globalAlpha = 0.65;
  context.drawImage(hole, 0, 0);
  context.globalAlpha = 1;
}

function clear() { holes.globalCompositeOperation = "source-over"; holes.clearRect(0, 0, SIDE, SIDE); }

function preset(paint) { clear(); holes.fillStyle = "#fff"; paint(); draw(); }

function load(source, own) {
  const image = new Image();
  image.onload = () => {
    const edge = Math.min(image.naturalWidth, image.naturalHeight), paper = picture.getContext("2d");
    paper.fillStyle = "#808080";
    paper.fillRect(0, 0, SIDE, SIDE);
    paper.drawImage(image, (image.naturalWidth - edge) / 2, (image.naturalHeight - edge) / 2, edge, edge, 0, 0, SIDE, SIDE);
    $("results").replaceChildren();
    if (own) clear();
    draw();
    status(own ? "paint over what is to be filled" : "");
  };
  image.onerror = async () => {
    status("this is not a picture that a browser can show", true);
    await call("GET", "/api/about").catch((error) => { if (error.status === 401) ask(); else status(error.message, true); });
  };
  image.src = source;
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) * SIDE / box.width, (event.clientY - box.top) * SIDE / box.height];
}

function stroke(event) {
  const at = place(event);
  holes.strokeStyle = "#fff";
  holes.globalCompositeOperation = $("erase").checked ? "destination-out" : "source-over";
  holes.lineWidth = Number($("brush").value);
  holes.lineCap = "round";
  holes.beginPath();
  holes.moveTo(...(last || at));
  holes.lineTo(at[0] + 0.01, at[1]);
  holes.stroke();
  last = at;
  draw();
}

canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); last = null; stroke(event); });
canvas.addEventListener("pointermove", (event) => { if (event.buttons) stroke(event); });
canvas.addEventListener("pointerup", () => { last = null; });
$("right").addEventListener("click", () => preset(() => holes.fillRect(SIDE * 0.4, 0, SIDE, SIDE)));
$("middle").addEventListener("click", () => preset(() => holes.fillRect(SIDE * 0.3, SIDE * 0.3, SIDE * 0.4, SIDE * 0.4)));
$("border").addEventListener("click", () => preset(() => { holes.fillRect(0, 0, SIDE, SIDE); holes.clearRect(SIDE * 0.25, SIDE * 0.25, SIDE * 0.5, SIDE * 0.5); }));
$("clear").addEventListener("click", () => { clear(); draw(); });
$("example").addEventListener("click", () => { load(`/example/${next % about.examples}`); next++; });
$("file").addEventListener("change", () => { const file = $("file").files[0]; if (file) load(URL.createObjectURL(file), true); });

function figure(source, text) {
  const made = document.createElement("figure"), image = document.createElement("img"), caption = document.createElement("figcaption");
  image.src = source;
  image.alt = text;
  caption.textContent = text;
  made.append(image, caption);
  return made;
}

function bytes(source) { return source.toDataURL("image/png").split(",")[1]; }

$("fill").addEventListener("click", async () => {
  $("fill").disabled = true;
  status("painting …");
  try {
    const mask = document.createElement("canvas"), pen = mask.getContext("2d");
    mask.width = mask.height = SIDE;
    pen.fillRect(0, 0, SIDE, SIDE);
    pen.drawImage(hole, 0, 0);
    const found = await call("POST", "/api/fill", { picture: bytes(picture), mask: bytes(mask), seed: Math.max(0, Math.trunc(Number($("seed").value)) || 0) });
    $("results").replaceChildren(
      figure(found.shown, "with its hole"),
      ...found.fills.map((one) => figure(one.image, `${one.name}: reward ${one.reward.toFixed(2)} ± ${one.width.toFixed(2)}`)),
    );
    status("");
  } catch (error) { if (error.status === 401) ask(); else status(error.message, true); } finally { $("fill").disabled = false; }
});

function ask() { $("work").hidden = true; $("sign-in").hidden = false; $("token").focus(); }

async function begin() {
  const link = new URLSearchParams(location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
  if (link.get("token")) await call("POST", "/api/sign-in", { token: link.get("token") }).catch(() => {});
  try { about = await call("GET", "/api/about"); } catch (error) {
    if (error.status !== 401) throw error;
    ask();
    return;
  }
  $("sign-in").hidden = true;
  $("work").hidden = false;
  $("example").hidden = !about.examples;
  $("leave").hidden = !about.token;
  if (about.examples) $("example").click();
  preset(() => holes.fillRect(SIDE * 0.4, 0, SIDE, SIDE));
}

$("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  try { await call("POST", "/api/sign-in", { token: $("token").value }); await begin(); } catch (error) { $("sign-in-error").textContent = error.message; }
});
$("leave").addEventListener("click", async () => { await call("POST", "/api/sign-out").catch(() => {}); location.reload(); });
begin().catch((error) => { $("work").hidden = false; status(error.message, true); });
