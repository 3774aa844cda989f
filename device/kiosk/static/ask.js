// How a page speaks with the terminal, and how it tells what came of it.
import { word } from "/static/words.js";

const NEWS_MS = 4000;
let token = "";
let gone = 0;

export class Refusal extends Error {
  constructor(key, said, status) {
    super(said);
    this.key = key;
    this.status = status;
  }
}

export function carry(fresh) {
  token = fresh || "";
}

// What the terminal answers, as an object; a Refusal with the catalogue's key where it does not do what was asked.
export async function ask(path, body) {
  const asked = body === undefined ? {} : {
    method: "POST",
    headers: { "content-type": "application/json", "x-door-token": token },
    body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await fetch(path, asked);
  } catch {
    throw new Refusal("page.unreachable", "", 0);
  }
  if (answer.status === 204) return {};
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refusal(found.word || "page.refused", found.said || "", answer.status);
  return found;
}

export function tell(text, isBad = false) {
  const news = document.getElementById("news");
  news.textContent = text;
  news.classList.toggle("bad", isBad);
  news.hidden = !text;
  clearTimeout(gone);
  gone = setTimeout(() => { news.hidden = true; }, NEWS_MS);
}

// A refusal in the visitor's language; with the terminal's own line where the page is for somebody who can use it.
export function tellRefusal(error, withLine = false) {
  if (!(error instanceof Refusal)) throw error;
  const line = withLine && error.message ? `: ${error.message}` : "";
  tell(word(error.key) + line, true);
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `/static/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

// An element with its attributes and what is in it: texts, elements, or nothing.
export function make(tag, attributes = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...inside.filter((part) => part !== null && part !== undefined));
  return element;
}

export const find = (id) => document.getElementById(id);
