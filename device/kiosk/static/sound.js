// A tone of its own for each answer, and the voice: both besides what is seen, never instead of it.
import { settings, spoken, word } from "/static/words.js";

// [hertz, begins, lasts] in seconds: rising is good, falling is not, two alike ask, and an alarm does not sound like them
const TONES = {
  granted: [[660, 0, 0.12], [880, 0.12, 0.22]],
  refused: [[330, 0, 0.18], [220, 0.18, 0.32]],
  ask: [[550, 0, 0.1], [550, 0.18, 0.1]],
  alarm: [[940, 0, 0.15], [700, 0.18, 0.15], [940, 0.36, 0.15]],
  bell: [[784, 0, 0.25], [622, 0.28, 0.5]],
  taken: [[740, 0, 0.08]],
};
let audio = null;
let said = "";

export function play(name) {
  if (!settings.sound || !TONES[name] || !settings.volume) return;
  audio = audio || new AudioContext();
  if (audio.state === "suspended") audio.resume();
  for (const [hertz, begins, lasts] of TONES[name]) {
    const tone = audio.createOscillator();
    const gain = audio.createGain();
    const at = audio.currentTime + begins;
    tone.type = "triangle";
    tone.frequency.value = hertz;
    gain.gain.setValueAtTime(0, at);
    gain.gain.linearRampToValueAtTime(settings.volume / 100, at + 0.012);
    gain.gain.exponentialRampToValueAtTime(0.001, at + lasts);
    tone.connect(gain).connect(audio.destination);
    tone.start(at);
    tone.stop(at + lasts);
  }
}

// Says the text of a key, unless it was the last one said; the browser's own voice, else a recording.
export function say(key) {
  if (!settings.voice || !settings.volume || !key || key === said) return;
  said = key;
  const voices = "speechSynthesis" in window ? speechSynthesis.getVoices() : [];
  const voice = voices.find((one) => one.localService && one.lang.toLowerCase().startsWith(spoken()));
  if (voice) {
    speechSynthesis.cancel();
    const text = new SpeechSynthesisUtterance(withoutName(word(key)));
    text.voice = voice;
    text.lang = voice.lang;
    text.volume = settings.volume / 100;
    speechSynthesis.speak(text);
    return;
  }
  const recorded = new Audio(`/voice/${spoken()}/${key}`);
  recorded.volume = settings.volume / 100;
  recorded.play().catch(() => {}); // nothing was recorded: the words are on the screen
}

export function fallSilent() {
  said = "";
}

function withoutName(text) {
  return text.replace(/[,，]\s*\{name\}|\{name\}/g, "");
}
