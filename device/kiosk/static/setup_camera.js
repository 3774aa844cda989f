// The camera's tab: what it sees, the meters, and the zone, drawn on the picture or set by its edges.
import { ask, find, make, tell, tellRefusal } from "/static/ask.js";
import { onPaint, word } from "/static/words.js";

const EDGES = ["left", "top", "right", "bottom"];
const LEAST = 0.1; // of the picture's width and height: less is a slip of the finger
const WHOLE = [0, 0, 1, 1];

let zone = null;
let drawn = null;

function begin() {
  const view = find("view");
  view.addEventListener("pointerdown", (event) => {
    view.setPointerCapture(event.pointerId);
    drawn = place(event);
  });
  view.addEventListener("pointermove", (event) => {
    if (drawn) span(drawn, place(event));
  });
  view.addEventListener("pointerup", () => { drawn = null; });
  for (const edge of EDGES) {
    const slider = make("input", { type: "range", id: `edge-${edge}`, min: "0", max: "100", step: "1" });
    slider.addEventListener("input", () => slide(edge, Number(slider.value) / 100));
    find("edges").append(make("label", { for: `edge-${edge}`, "data-word": `setup.zone_${edge}` }), slider, make("output", {}));
  }
  find("zone-whole").addEventListener("click", () => { zone = WHOLE; paintZone(); });
  find("zone-keep").addEventListener("click", keep);
  find("refocus").addEventListener("click", () => ask("/setup/focus", {}).catch(tellRefusal));
  find("picture").addEventListener("load", () => {
    const { naturalWidth, naturalHeight } = find("picture");
    find("view").style.aspectRatio = `${naturalWidth} / ${naturalHeight}`;
  });
  onPaint(paintEdges);
}

function show(isShown) {
  const picture = find("picture");
  picture.alt = word("page.picture");
  if (isShown && !picture.getAttribute("src")) {
    picture.src = `/setup/picture?${Date.now()}`;
    load();
  } else if (!isShown) picture.removeAttribute("src");
}

async function load() {
  if (zone) return;
  const found = await ask("/setup/settings").catch(() => null);
  zone = found ? found.values["face.zone"] : WHOLE;
  paintZone();
}

function place(event) {
  const box = find("view").getBoundingClientRect();
  const share = (at, from, size) => Math.min(Math.max((at - from) / size, 0), 1);
  return [share(event.clientX, box.left, box.width), share(event.clientY, box.top, box.height)];
}

function span(from, to) {
  const [left, right] = [Math.min(from[0], to[0]), Math.max(from[0], to[0])];
  const [top, bottom] = [Math.min(from[1], to[1]), Math.max(from[1], to[1])];
  if (right - left < LEAST || bottom - top < LEAST) return;
  zone = [left, top, right, bottom];
  paintZone();
}

function slide(edge, value) {
  const fresh = [...zone];
  fresh[EDGES.indexOf(edge)] = value;
  if (fresh[2] - fresh[0] >= LEAST && fresh[3] - fresh[1] >= LEAST) zone = fresh;
  paintZone();
}

function paintZone() {
  if (!zone) return;
  const [left, top, right, bottom] = zone.map((share) => share * 100);
  Object.assign(find("zone").style, { left: `${left}%`, top: `${top}%`, width: `${right - left}%`, height: `${bottom - top}%` });
  paintEdges();
}

function paintEdges() {
  if (!zone) return;
  EDGES.forEach((edge, number) => {
    const slider = find(`edge-${edge}`);
    slider.value = Math.round(zone[number] * 100);
    slider.nextElementSibling.textContent = `${Math.round(zone[number] * 100)} %`;
  });
}

async function keep() {
  try {
    await ask("/setup/change", { changes: { "face.zone": zone.map((share) => Math.round(share * 1000) / 1000) } });
    tell(word("setup.changed"));
  } catch (error) {
    tellRefusal(error, true);
  }
}

function paint(live) {
  const { focus, light } = live;
  if (!focus) {
    find("focus-word").textContent = word("setup.no_camera");
    return;
  }
  const share = focus.peak ? focus.value / focus.peak : 0;
  find("focus-bar").style.width = `${Math.round(share * 100)}%`;
  find("focus-bar").className = focus.is_sharp ? "" : "low";
  find("focus-word").textContent = word(focus.is_sharp ? "setup.focus_sharp" : "setup.focus_soft");
  find("focus-word").className = `badge ${focus.is_sharp ? "good" : ""}`;
  find("focus-peak").textContent = word("setup.focus_peak", { n: Math.round(focus.peak) });
  const step = 120 / Math.max(focus.curve.length - 1, 1);
  find("curve").firstElementChild.setAttribute("points", focus.curve.map((value, number) =>
    `${(number * step).toFixed(1)},${(28 - value * 26).toFixed(1)}`).join(" "));
  find("light-bar").style.width = `${Math.round(light.mean * 100)}%`;
  find("light-bar").className = light.word === "setup.light_good" ? "" : "low";
  find("light-word").textContent = `${word(light.word)} · ${word("setup.light_mean", { n: Math.round(light.mean * 100) })}`;
  find("light-lost").textContent = word("setup.light_lost", {
    dark: Math.round(light.dark * 100), bright: Math.round(light.bright * 100) });
}

export const camera = { begin, show, paint };
