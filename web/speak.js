// Speak: a text is asked for, heard while it is made, and shown word by word.

import { ask, askJSON, base, described, gone, has, key, look, server } from "./server.js";
import { Player } from "./player.js";
import { HEADER_BYTES, RATE, save, streamed } from "./wav.js";
import { Waveform } from "./waveform.js";
import { Words } from "./words.js";

const byId = (id) => document.getElementById(id);
const text = byId("text"), seek = byId("seek"), go = byId("go");
const wave = new Waveform(byId("wave"));
const words = new Words(byId("reading"), (seconds) => replay(seconds));
export const player = new Player();
let drawing = false, wasWriting = false;
export const speech = { ended: true, asked: null, fields: null, seed: null, seconds: 0, bytes: [], abort: null };

/** The request's fields, without those that are left to the server. A seed is digits: it may be too long for a number. */
function fields() {
  const speed = Number(byId("speed").value);
  return {
    text: text.value, voice: byId("voice").value,
    ...(speed !== 1 && byId("speed").value && { speed }),
    ...(byId("seed").value && { seed: byId("seed").value }),
  };
}

function toJSON(fields) {
  const pairs = Object.entries(fields).map(([name, value]) => {
    const plain = name === "seed" && /^\d+$/.test(value);
    return `${JSON.stringify(name)}: ${plain ? value : JSON.stringify(value)}`;
  });
  return `{${pairs.join(", ")}}`;
}

async function speak() {
  halt();
  const asked = fields(), abort = new AbortController(), began = performance.now();
  const elapsed = () => (performance.now() - began) / 1000;
  Object.assign(speech, { ended: false, asked, fields: toJSON(asked), seed: null, seconds: 0, bytes: [], abort });
  player.begin();
  problem("");
  told("Asked");
  for (const id of ["first", "factor", "ahead", "underruns"]) byId(id).textContent = "–";
  show();
  words.text(asked.text);
  buttons();
  try {
    const reply = await ask("tts", { method: "POST", json: speech.fields, signal: abort.signal });
    const all = Number(reply.headers.get("content-length")) - HEADER_BYTES;
    Object.assign(speech, { seed: reply.headers.get("x-seed"), seconds: all / 2 / RATE });
    wave.begin(all / 2);
    Object.assign(seek, { max: speech.seconds, value: 0, disabled: false });
    byId("length").textContent = speech.seconds.toFixed(1);
    for await (const { bytes, samples } of streamed(reply)) {
      if (!player.samples && samples.length) {
        byId("first").textContent = `${Math.round(1000 * elapsed())} ms`;
        lightUp(asked.text, abort.signal);
        told(unspoken(reply));
        lines();
      }
      speech.bytes.push(bytes);
      player.push(samples);
      wave.push(samples);
      byId("factor").textContent = (elapsed() / (player.samples / RATE)).toFixed(3);
    }
    speech.ended = true;
    player.end();
  } catch (error) {
    await failed(error, abort);
  }
  buttons();
}

function unspoken(reply) {
  const not = reply.headers.get("x-unspoken");
  return not ? `Not spoken, for want of sounds: ${decodeURIComponent(not)}` : "Speaking";
}

async function failed(error, abort) {
  if (speech.abort !== abort) return; // of a speech that another has taken the place of
  speech.ended = true;
  if (gone(error) || abort.signal.aborted) return;
  if (player.samples) { // what has come can still be heard
    problem(`The connection broke after ${(player.samples / RATE).toFixed(1)} of ${speech.seconds.toFixed(1)} s. Speak again for the rest.`);
    player.end();
    look();
  } else {
    const again = error.retryAfter ? ` (in ${error.retryAfter} s)` : "";
    problem(`${error.message}${again}`);
    told("");
    player.stop();
    rest();
  }
}

/** Where each word is, if this server tells. It is asked after the first sound, and never delays it. */
async function lightUp(asked, signal) {
  if (!(await has("/tts/plan", "post").catch(() => false))) return;
  try {
    const plan = await askJSON("tts/plan", { method: "POST", json: speech.fields, signal });
    if (!signal.aborted) words.plan(asked, plan.words);
  } catch { /* the speech goes on without */ }
}

/** Stop: the reply is dropped, and the server's model is free within a solver step. */
function halt() {
  speech.abort?.abort();
  speech.ended = true;
  player.stop();
  rest();
}

/** The words in the place of the field; who wrote in it goes on writing afterwards. */
function show() {
  wasWriting = document.activeElement === text;
  if (wasWriting) go.focus();
  byId("sheet").classList.add("playing");
}

function rest() {
  byId("sheet").classList.remove("playing");
  if (wasWriting && document.activeElement === go) text.focus();
  wasWriting = false;
  buttons();
}

function replay(seconds) {
  problem("");
  show();
  player.playFrom(seconds);
  buttons();
}

function buttons() {
  const busy = !speech.ended || player.playing;
  go.textContent = busy ? "Stop" : "Speak";
  byId("again").disabled = busy || !player.samples;
  byId("download").disabled = !speech.ended || !player.samples || player.samples < Math.round(speech.seconds * RATE);
  draw();
}

/** The waveform, the clock and the word of this moment, as long as something is played or comes. The model may run on
 * this same machine: nothing is drawn that has not changed. */
function frame() {
  const { position } = player, tenth = position.toFixed(1), ahead = Math.max(0, player.ahead).toFixed(1);
  wave.draw(speech.seconds ? position / speech.seconds : 0);
  if (player.playing) words.show(position);
  write("position", tenth);
  write("ahead", `${ahead} s`);
  write("underruns", String(player.underruns));
  if (document.activeElement !== seek && seek.value !== tenth) seek.value = tenth;
  drawing = !speech.ended || player.playing;
  if (drawing) requestAnimationFrame(frame);
}

function draw() {
  if (!drawing) requestAnimationFrame(frame);
  drawing = true;
}

function write(id, value) {
  if (byId(id).textContent !== value) byId(id).textContent = value;
}

// The same from a terminal

function lines() {
  const format = byId("format").value;
  const chosen = { ...fields(), ...(format !== "wav" && { format }) };
  if (speech.seed && toJSON(fields()) === speech.fields) chosen.seed = speech.seed; // what was heard, byte for byte
  const json = toJSON(chosen), url = new URL("tts", base).href, file = `speech.${format}`;
  const quoted = json.replaceAll("'", "'\\''");
  byId("curl").textContent = `curl ${url} ${key() ? '-H "Authorization: Bearer $TTS_API_KEY" ' : ""}\\\n  -d '${quoted}' -o ${file}`;
  const headers = key() ? `{"Authorization": "Bearer " + os.environ["TTS_API_KEY"]}` : "{}";
  byId("python").textContent =
    `import json, ${key() ? "os, " : ""}shutil, urllib.request\n\nspeech = ${json}\n` +
    `request = urllib.request.Request("${url}", json.dumps(speech).encode(), ${headers})\n` +
    `with urllib.request.urlopen(request) as reply, open("${file}", "wb") as file:\n    shutil.copyfileobj(reply, file)`;
}

async function download() {
  const format = byId("format").value, name = `speech.${format}`;
  if (format === "wav") return save(new Blob(speech.bytes, { type: "audio/wav" }), name);
  problem("");
  told(`Asking for ${format}`);
  try { // the same seed: the same speech
    const json = toJSON({ ...speech.asked, seed: speech.seed, format });
    save(await (await ask("tts", { method: "POST", json })).blob(), name);
    told("");
  } catch (error) {
    problem(error.message);
  }
}

const told = (words) => { byId("told").textContent = words; };
const problem = (words) => { byId("problem").textContent = words; };

async function offered() {
  const { paths } = await described();
  const known = paths["/tts"].post.requestBody.content["application/json"].schema.properties;
  text.maxLength = known.text.maxLength;
  Object.assign(byId("speed"), { min: known.speed.minimum, max: known.speed.maximum });
  byId("format-label").hidden = !known.format;
  const list = byId("format"), chosen = list.value;
  if (known.format) list.replaceChildren(...known.format.enum.map((name) => new Option(name)));
  list.value = chosen;
}

byId("speak-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!speech.ended || player.playing) {
    halt();
    told("Stopped");
  } else speak();
});
byId("again").addEventListener("click", () => replay(0));
byId("download").addEventListener("click", download);
byId("speak-form").addEventListener("input", (event) => {
  if (event.target === seek) return;
  if (event.target === text) words.text(text.value);
  lines();
});
seek.addEventListener("input", () => { if (Number(seek.value) * RATE <= player.samples) replay(Number(seek.value)); });
player.addEventListener("ended", () => {
  told(speech.ended && player.whole ? "Finished" : "");
  rest();
});
text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("speak-form").requestSubmit();
});
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && (!speech.ended || player.playing)) {
    halt();
    told("Stopped");
  }
});
for (const name of ["dragover", "dragleave", "drop"]) {
  byId("sheet").addEventListener(name, async (event) => {
    if (!event.dataTransfer.types.includes("Files")) return; // text that is dragged is the browser's to move
    event.preventDefault();
    byId("sheet").classList.toggle("dropping", name === "dragover");
    const [file] = event.dataTransfer.files;
    if (!file) return;
    const whole = await file.text(), most = text.maxLength > 0 ? text.maxLength : whole.length;
    text.value = whole.slice(0, most);
    problem(whole.length > most ? `Only the first ${most} of its ${whole.length} characters: this server speaks no more at once.` : "");
    words.text(text.value);
    lines();
  });
}
for (const button of document.querySelectorAll("[data-copies]")) {
  button.addEventListener("click", async () => {
    await navigator.clipboard?.writeText(byId(button.dataset.copies).textContent);
    button.textContent = navigator.clipboard ? "Copied" : "Select it";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}
server.addEventListener("back", () => offered().catch(() => {}));
document.addEventListener("voices", lines);
offered().catch(() => {});
words.text(text.value);
lines();
