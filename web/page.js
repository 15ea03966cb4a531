// The page as a whole: which part is shown, is the server there, the key, the voices. Each part is a module of its own.

import { askJSON, beat, has, look, server, useKey } from "./server.js";
import "./speak.js";
import "./watch.js";

const PARTS = ["speak", "clone", "subtitles", "watch"];
const byId = (id) => document.getElementById(id);

function show() {
  const asked = location.hash.slice(1), link = document.querySelector(`nav a[href="#${asked}"]`);
  const part = PARTS.includes(asked) && !link.hidden ? asked : "speak";
  for (const name of PARTS) byId(name).hidden = name !== part;
  for (const one of document.querySelectorAll("nav a")) {
    if (one.getAttribute("href") === `#${part}`) one.setAttribute("aria-current", "page");
    else one.removeAttribute("aria-current");
  }
  document.dispatchEvent(new CustomEvent("part", { detail: part }));
}

/** Parts whose routes this server does not have stay hidden, and their modules are not loaded. */
async function parts() {
  const wanted = [["clone", "/voices", "./clone.js"], ["subtitles", "/cues", "./subtitles.js"]];
  for (const [part, route, module] of wanted) {
    if (!(await has(route, "post"))) continue;
    await import(module);
    document.querySelector(`nav a[href="#${part}"]`).hidden = false;
  }
  show();
}

async function voices() {
  const { voices, unusable = [] } = await askJSON("voices");
  for (const list of document.querySelectorAll("#voice, #film-voice")) {
    const chosen = list.value;
    list.replaceChildren(...voices.map((one) => new Option(`${one.name}${one.language ? ` (${one.language})` : ""}`, one.name)));
    list.value = voices.some((one) => one.name === chosen) ? chosen : "default";
  }
  document.dispatchEvent(new CustomEvent("voices", { detail: { voices, unusable } }));
}

async function greet() {
  try {
    await voices();
    await parts();
  } catch { /* told above the page, and tried again when the server is back */ }
}

function told(text, kind) {
  const line = byId("server");
  line.textContent = text;
  line.className = kind;
}

server.addEventListener("health", ({ detail }) => told(detail.message, "here"));
server.addEventListener("away", () => {
  told("no answer; trying again", "away");
  byId("announced").textContent = "The server does not answer.";
});
server.addEventListener("back", () => {
  byId("announced").textContent = "The server answers.";
  look();
  greet();
});
server.addEventListener("key", () => { byId("key").hidden = false; });
document.addEventListener("voices-changed", voices);
byId("key").addEventListener("submit", (event) => {
  event.preventDefault();
  byId("key").hidden = true;
  useKey(byId("key-value").value.trim());
  byId("key-value").value = "";
});
addEventListener("hashchange", show);
addEventListener("online", look);
show();
greet();
beat();
