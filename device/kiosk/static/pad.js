// A pad of digits for a PIN, perhaps with a number before it; also by a keyboard's digits, Backspace and Enter.
import { icon, make } from "/static/ask.js";
import { word } from "/static/words.js";

const KEYS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "delete", "0", "clear"];

export class Pad {
  // fields: [{name, word, most, isSecret}]; done() is called by Enter
  constructor(place, fields, done) {
    this.fields = fields;
    this.done = done;
    this.values = Object.fromEntries(fields.map((field) => [field.name, ""]));
    this.shown = {};
    this.chosen = fields[0].name;
    place.classList.add("pad");
    place.replaceChildren(this.fieldRow(), this.keyGrid());
    this.dialog = place.closest("dialog");
    (this.dialog || document).addEventListener("keydown", (event) => this.pressed(event));
    this.show();
  }

  fieldRow() {
    const row = make("div", { class: "pad-fields" });
    for (const field of this.fields) {
      const output = make("output", { "aria-live": "off" });
      const label = make("span", { "data-word": field.word }, word(field.word));
      const button = make("button", { type: "button", class: "pad-field", onclick: () => this.choose(field.name) },
        label, output);
      this.shown[field.name] = { button, output };
      row.append(button);
    }
    return row;
  }

  keyGrid() {
    const grid = make("div", { class: "pad-keys" });
    for (const key of KEYS) {
      const button = make("button", { type: "button", "data-key": key, onclick: () => this.press(key) });
      if (key === "delete") {
        button.append(icon("delete"));
        button.dataset.label = "pin.delete";
        button.setAttribute("aria-label", word("pin.delete"));
      } else if (key === "clear") {
        button.dataset.word = "pin.clear";
        button.textContent = word("pin.clear");
        button.classList.add("small");
      } else {
        button.textContent = key;
      }
      grid.append(button);
    }
    return grid;
  }

  only(names) {
    for (const field of this.fields) this.shown[field.name].button.hidden = !names.includes(field.name);
    this.clear();
    this.choose(names[0]);
  }

  choose(name) {
    this.chosen = name;
    this.show();
  }

  press(key) {
    const field = this.fields.find((one) => one.name === this.chosen);
    const before = this.values[field.name];
    if (key === "clear") this.values[field.name] = "";
    else if (key === "delete") this.values[field.name] = before.slice(0, -1);
    else if (before.length < field.most) this.values[field.name] = before + key;
    this.show();
  }

  pressed(event) {
    if (this.dialog && !this.dialog.open) return;
    if (!this.dialog && this.shown[this.chosen].button.offsetParent === null) return;
    if (/^[0-9]$/.test(event.key)) this.press(event.key);
    else if (event.key === "Backspace") this.press("delete");
    else if (event.key === "Enter" && event.target.tagName !== "BUTTON") this.done();
    else return;
    event.preventDefault();
  }

  clear() {
    for (const name of Object.keys(this.values)) this.values[name] = "";
    this.show();
  }

  show() {
    for (const field of this.fields) {
      const { button, output } = this.shown[field.name];
      const value = this.values[field.name];
      output.textContent = field.isSecret ? "•".repeat(value.length) : value;
      button.setAttribute("aria-pressed", String(field.name === this.chosen));
    }
  }
}
