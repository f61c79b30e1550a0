"use strict";
const $ = (id) => document.getElementById(id);
// The picture as it is, and the hole over it: both at the picture's own size, shown smaller by the style sheet.
const canvas = $("canvas"), context = canvas.getContext("2d"), hole = document.createElement("canvas"), holes = hole.getContext("2d");
let about = null, next = 0, last = null, picture = null, sent = null;

async function call(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) { options.headers["Content-Type"] = "application/json"; options.body = JSON.stringify(body); }
  const response = await fetch(path, options).catch(() => { throw new Error("the page's server does not answer; is kedro try still running?"); });
  const found = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(response.status === 413 ? "the picture's file is too large; save it as JPEG" : String(found.detail && found.detail[0].msg || found.detail || response.statusText)), { status: response.status });
  return found;
}

function status(text, bad = false) { $("status").textContent = text; $("status").classList.toggle("bad", bad); }

function lay(pen, picture) {
  pen.fillStyle = "#808080";
  pen.fillRect(0, 0, picture.naturalWidth, picture.naturalHeight);
  pen.drawImage(picture, 0, 0);
}

function draw() {
  if (!picture) return;
  lay(context, picture);
  context.globalAlpha = 0.65;
  context.drawImage(hole, 0, 0);
  context.globalAlpha = 1;
}

function clear() { holes.globalCompositeOperation = "source-over"; holes.clearRect(0, 0, hole.width, hole.height); }

function preset(paint) { clear(); holes.fillStyle = "#fff"; paint(hole.width, hole.height); draw(); }

const rightHalf = (width, height) => holes.fillRect(width * 0.4, 0, width, height);

async function decoded(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  return image;
}

async function load(file, own) {
  const source = URL.createObjectURL(file);
  try {
    const [image, bytes] = await Promise.all([decoded(source), file.arrayBuffer()]);
    [picture, sent] = [image, new Uint8Array(bytes)];
  } catch { status("this is not a picture that a browser can show", true); return; } finally { URL.revokeObjectURL(source); }
  for (const one of [canvas, hole]) { one.width = picture.naturalWidth; one.height = picture.naturalHeight; }
  $("results").replaceChildren();
  if (own) { clear(); draw(); status("paint over what is to be filled"); } else { preset(rightHalf); status(""); }
}

async function example() {
  const response = await fetch(`/example/${next++ % about.examples}`);
  if (response.status === 401) ask(); else await load(await response.blob(), false);
}

function place(event) {
  const box = canvas.getBoundingClientRect(), scale = canvas.width / box.width;
  return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale, scale];
}

function stroke(event) {
  const at = place(event);
  holes.strokeStyle = "#fff";
  holes.globalCompositeOperation = $("erase").checked ? "destination-out" : "source-over";
  holes.lineWidth = Number($("brush").value) * at[2];
  holes.lineCap = "round";
  holes.beginPath();
  holes.moveTo(...(last || at).slice(0, 2));
  holes.lineTo(at[0] + 0.01, at[1]);
  holes.stroke();
  last = at;
  draw();
}

canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); last = null; stroke(event); });
canvas.addEventListener("pointermove", (event) => { if (event.buttons) stroke(event); });
canvas.addEventListener("pointerup", () => { last = null; });
$("right").addEventListener("click", () => preset(rightHalf));
$("middle").addEventListener("click", () => preset((width, height) => holes.fillRect(width * 0.3, height * 0.3, width * 0.4, height * 0.4)));
$("border").addEventListener("click", () => preset((width, height) => { holes.fillRect(0, 0, width, height); holes.clearRect(width * 0.25, height * 0.25, width * 0.5, height * 0.5); }));
$("clear").addEventListener("click", () => { clear(); draw(); });
$("example").addEventListener("click", () => example().catch((error) => status(error.message, true)));
$("file").addEventListener("change", () => { const file = $("file").files[0]; if (file) load(file, true); });

function base64(bytes) {
  let text = "";
  // In parts: a call takes only so many arguments.
  for (let start = 0; start < bytes.length; start += 32768) text += String.fromCharCode(...bytes.subarray(start, start + 32768));
  return btoa(text);
}

function maskBytes() {
  const mask = document.createElement("canvas"), pen = mask.getContext("2d");
  mask.width = hole.width;
  mask.height = hole.height;
  pen.fillRect(0, 0, mask.width, mask.height);
  pen.drawImage(hole, 0, 0);
  return mask.toDataURL("image/png").split(",")[1];
}

const number = (value) => value.toFixed(2).replace("-", "−");

async function figure(fill, picture) {
  const made = document.createElement("figure"), filled = document.createElement("canvas"), pen = filled.getContext("2d");
  const caption = document.createElement("figcaption"), save = document.createElement("button");
  filled.width = picture.naturalWidth;
  filled.height = picture.naturalHeight;
  lay(pen, picture);
  // A patch is transparent where the picture stays as it is.
  for (const patch of fill.patches) pen.drawImage(await decoded(patch.image), patch.left, patch.top);
  filled.setAttribute("role", "img");
  filled.setAttribute("aria-label", `filled by ${fill.name}`);
  const interval = fill.interval ? `, with ${Number((100 * fill.level).toPrecision(4))} % confidence ${number(fill.interval[0])} to ${number(fill.interval[1])}` : "";
  caption.textContent = `${fill.name}: reward ${number(fill.reward)}${interval}`;
  if (fill.sentence) {
    const sentence = document.createElement("p");
    sentence.textContent = fill.sentence;
    sentence.className = fill.sure ? "sure" : "unsure";
    caption.append(sentence);
  }
  save.type = "button";
  save.textContent = "Save";
  save.setAttribute("aria-label", `Save what ${fill.name} filled`);
  save.addEventListener("click", () => filled.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${fill.name}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }));
  made.append(filled, caption, save);
  return made;
}

$("fill").addEventListener("click", async () => {
  if (!picture) { status("choose a picture first", true); return; }
  $("fill").disabled = true;
  status("painting …");
  // Another one may be loaded meanwhile.
  const given = picture;
  try {
    const seed = Math.max(0, Math.trunc(Number($("seed").value)) || 0);
    const found = await call("POST", "/api/fill", { picture: base64(sent), mask: maskBytes(), seed, samples: Number($("samples").value), text: $("text").value.trim() });
    const figures = await Promise.all(found.fills.map((fill) => figure(fill, given)));
    if (picture === given) { $("results").replaceChildren(...figures); status(""); }
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
  if (about.examples) await example();
}

$("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  try { await call("POST", "/api/sign-in", { token: $("token").value }); await begin(); } catch (error) { $("sign-in-error").textContent = error.message; }
});
$("leave").addEventListener("click", async () => { await call("POST", "/api/sign-out").catch(() => {}); location.reload(); });
begin().catch((error) => { $("work").hidden = false; status(error.message, true); });
