// The screen as a lamp: paints the colours that it is told in their time, and says when each was on the glass.
import { ask, find } from "/static/ask.js";

const ABLE_EVERY_MS = 2000;

// Whoever asks for little motion is not flashed at; a hidden page lights nobody.
function isAble() {
  return document.visibilityState === "visible" && !matchMedia("(prefers-reduced-motion: reduce)").matches;
}

export function offer() {
  setInterval(() => {
    if (isAble()) ask("/lamp", { number: 0, place: 0 }).catch(() => {});
  }, ABLE_EVERY_MS);
  if (isAble()) ask("/lamp", { number: 0, place: 0 }).catch(() => {});
}

export function shine(flash) {
  const begins = performance.now() + flash.begins_ms;
  const lamp = find("lamp");
  let shown = -1;

  function frame() {
    const place = Math.floor((performance.now() - begins) / flash.each_ms);
    if (place >= flash.colours.length || !isAble()) {
      lamp.hidden = true;
      return;
    }
    if (place >= 0 && place !== shown) {
      shown = place;
      lamp.style.backgroundColor = `rgb(${flash.colours[place].join(" ")})`;
      lamp.hidden = false;
      // After the next frame has begun, this one is on the glass.
      requestAnimationFrame(() => setTimeout(() => {
        ask("/lamp", { number: flash.number, place }).catch(() => {});
      }, 0));
    }
    requestAnimationFrame(frame);
  }
  requestAnimationFrame(frame);
}
