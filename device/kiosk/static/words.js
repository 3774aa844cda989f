// The catalogue: every text of a page by its key, in the language that whoever stands there has chosen.
let words = {};
let language = "en";
let painters = [];

export let settings = {};

export function word(key, values = {}) {
  const text = (key && words[key] && words[key][language]) || "";
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

export function has(key) {
  return key in words;
}

export function spoken() {
  return language;
}

// What a page paints besides the words in its markup; called after each change of the language.
export function onPaint(painter) {
  painters.push(painter);
}

export function paint() {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = word(element.dataset.word);
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", word(element.dataset.label));
  }
  const title = document.body.dataset.title;
  document.title = word(title || "screen.title");
  for (const painter of painters) painter();
}

export function speak(wanted) {
  language = wanted === "zh" ? "zh" : "en";
  sessionStorage.setItem("language", language);
  paint();
}

export function moment(at, options = { dateStyle: "medium", timeStyle: "short" }) {
  if (!at) return "";
  const locale = language === "zh" ? "zh-Hans-CN" : "en-GB";
  return new Intl.DateTimeFormat(locale, { timeZone: settings.zone, ...options }).format(new Date(at));
}

// The words come once; a page without them is an empty one, so it asks until the terminal answers.
export async function begin() {
  for (;;) {
    try {
      const answer = await fetch("/words");
      ({ words, settings } = await answer.json());
      break;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
  for (const button of document.querySelectorAll(".language")) {
    button.addEventListener("click", () => speak(language === "zh" ? "en" : "zh"));
  }
  speak(sessionStorage.getItem("language") || settings.language);
  return settings;
}
