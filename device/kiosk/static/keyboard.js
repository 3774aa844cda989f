// Letters on the screen, for terminals without a keyboard: shown while a text field has the focus.
import { icon, make } from "/static/ask.js";
import { word } from "/static/words.js";

const LETTERS = ["qwertyuiop", "asdfghjkl", "zxcvbnm"];
const SIGNS = ["1234567890", "-'.,:/()&@", "äöüßéèçñ"];
const TAP_MS = 300; // what is pressed must lie still until it is let go: the page moves when the keyboard closes

let board = null;
let field = null;
let isUpper = true;
let isSigns = false;

// Fields of text get the keyboard as soon as they are chosen; it goes with the next tap elsewhere.
export function provide() {
  document.addEventListener("focusin", (event) => {
    if (event.target.matches("input[type=text]")) open(event.target);
    else if (board && !board.contains(event.target)) setTimeout(leave, TAP_MS);
  });
}

function leave() {
  if (board && !document.activeElement.matches("input[type=text]")) close();
}

function open(chosen) {
  field = chosen;
  isUpper = !field.value;
  isSigns = field.inputMode === "numeric";
  if (!board) {
    board = make("div", { id: "keyboard", role: "group" });
    board.addEventListener("pointerdown", (event) => event.preventDefault()); // the field keeps the focus
    (field.closest("dialog") || document.body).append(board);
  } else if (!(field.closest("dialog") || document.body).contains(board)) {
    (field.closest("dialog") || document.body).append(board);
  }
  document.body.classList.add("typing");
  paint();
  field.scrollIntoView({ block: "center" });
}

export function close() {
  document.body.classList.remove("typing");
  if (board) board.remove();
  board = field = null;
}

function paint() {
  const rows = (isSigns ? SIGNS : LETTERS).map((row) => make("div", {}, ...[...row].map((letter) => {
    const shown = isUpper && !isSigns ? letter.toUpperCase() : letter;
    return key(shown, () => type(shown));
  })));
  if (!isSigns) {
    const shift = key(icon("shift"), () => { isUpper = !isUpper; paint(); }, "side", word("keyboard.shift"));
    shift.setAttribute("aria-pressed", String(isUpper));
    rows[2].prepend(shift);
  }
  rows[2].append(key(icon("delete"), erase, "side", word("keyboard.delete")));
  const other = isSigns ? "keyboard.letters" : "keyboard.digits";
  const last = make("div", {},
    key(isSigns ? "abc" : "123", () => { isSigns = !isSigns; paint(); }, "side", word(other)),
    key(word("keyboard.space"), () => type(" "), "wide"),
    key(icon("down"), () => { field.blur(); close(); }, "side", word("keyboard.hide")));
  board.replaceChildren(...rows, last);
}

function key(shown, act, kind = "", label = null) {
  return make("button", { type: "button", tabindex: "-1", class: kind, "aria-label": label, onclick: act }, shown);
}

function type(letter) {
  if (field.maxLength > 0 && field.value.length >= field.maxLength) return;
  put(field.value.slice(0, field.selectionStart) + letter, field.value.slice(field.selectionEnd));
  if (isUpper && !isSigns && letter !== " ") {
    isUpper = false;
    paint();
  } else if (letter === " " && !isSigns) {
    isUpper = true;
    paint();
  }
}

function erase() {
  const start = field.selectionStart === field.selectionEnd ? field.selectionStart - 1 : field.selectionStart;
  put(field.value.slice(0, Math.max(start, 0)), field.value.slice(field.selectionEnd));
}

function put(before, after) {
  field.value = before + after;
  field.setSelectionRange(before.length, before.length);
  field.dispatchEvent(new Event("input", { bubbles: true }));
}
