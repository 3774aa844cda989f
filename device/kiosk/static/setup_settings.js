// The settings' tab: a few keys of terminal.toml. The terminal judges them; here they are only asked for.
import { ask, find, make, tell, tellRefusal } from "/static/ask.js";
import { word } from "/static/words.js";

const TEXTS = ["kiosk.purpose", "kiosk.retention", "kiosk.contact"];
const HIDDEN = ["face.zone", "face.liveness_threshold"]; // set where they are measured
const NUMBERS = { "door.release_s": "decimal", "screen.volume": "numeric" };

let found = null;
let changes = {};

function begin(askTwice) {
  find("keep").addEventListener("click", keep);
  find("restart").addEventListener("click", () => askTwice("/setup/restart", "setup.restart_sure", "setup.restart",
    () => tell(word("setup.restarting"))));
  find("form").addEventListener("submit", (event) => {
    event.preventDefault();
    keep();
  });
}

async function open() {
  try {
    found = await ask("/setup/settings");
    changes = {};
    paint();
  } catch (error) {
    tellRefusal(error);
  }
}

function paint() {
  if (!found) return;
  find("form").replaceChildren(...Object.keys(found.values).filter((key) => !HIDDEN.includes(key)).map(field));
  find("file").textContent = found.file ? word("setup.file", { at: found.file }) : word("setup.no_file");
  find("keep").disabled = !found.file;
  find("restart").disabled = !found.can_restart;
}

function field(key) {
  const name = `setup.key_${key.replace(".", "_")}`;
  const value = key in changes ? changes[key] : found.values[key];
  const set = (fresh) => { changes[key] = fresh; };
  if (typeof value === "boolean") {
    const box = make("input", { type: "checkbox", checked: value, onchange: (event) => set(event.target.checked) });
    return make("label", { class: "tick" }, box, make("span", {}, word(name)));
  }
  const shown = found.choices[key] ? choice(found.choices[key], value, set) : make("input", {
    type: "text", value: String(value), inputmode: NUMBERS[key] ? "numeric" : null,
    oninput: (event) => set(NUMBERS[key] ? number(key, event.target.value) : event.target.value) });
  return make("label", { class: TEXTS.includes(key) ? "field whole" : "field" }, make("span", {}, word(name)), shown);
}

function choice(values, now, set) {
  return make("select", { onchange: (event) => set(event.target.value) }, ...values.map((value) =>
    make("option", { value, selected: value === now }, word(`setup.value_${value}`) || value)));
}

function number(key, text) {
  const value = Number(text.replace(",", "."));
  return NUMBERS[key] === "numeric" && Number.isFinite(value) ? Math.round(value) : Number.isFinite(value) ? value : text;
}

async function keep() {
  if (!Object.keys(changes).length) return;
  try {
    await ask("/setup/change", { changes });
    tell(word("setup.changed"));
    await open();
  } catch (error) {
    tellRefusal(error, true);
  }
}

export const settingsTab = { begin, open, paint };
