// Subtitles: what is said in a film, whether it fits, spoken as jobs, heard in its place, taken home as one track.

import { ask, askJSON, server } from "./server.js";
import { audio } from "./player.js";
import { HEADER_BYTES, RATE, fromPCM, header, save } from "./wav.js";

const byId = (id) => document.getElementById(id);
const AT_ONCE = 4, LOOK_SECONDS = 0.5, AHEAD_SECONDS = 3, MAX_SPEED = 4;
let film = { name: "", cues: [] }; // cues as /cues has them, and {natural, state, pcm, row}
let run = null; // an AbortController while cues are spoken
const clock = { zero: 0, sources: new Set(), timer: null, next: 0, lit: null, end: 0 };

const told = (words) => { byId("film-told").textContent = words; };
const problem = (words) => { byId("film-problem").textContent = words; };
const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
const speaking = () => film.cues.filter((cue) => cue.room !== null);
const maxSpeed = () => Math.max(1, Math.min(MAX_SPEED, Number(byId("max-speed").value) || 1));

async function take(file) {
  problem("");
  byId("film-cancel").click();
  silence();
  try {
    const query = new URLSearchParams({ name: file.name });
    const { cues } = await askJSON(`cues?${query}`, { method: "POST", body: await file.arrayBuffer() });
    film = { name: file.name.replace(/\.\w+$/, ""), cues };
    draw();
    await measure();
  } catch (error) {
    problem(error.message);
  }
}

function draw() {
  byId("cues").hidden = false;
  byId("cues").tBodies[0].replaceChildren(...film.cues.map((cue) => {
    const row = document.createElement("tr");
    cue.cells = Array.from({ length: 5 }, () => row.insertCell());
    const [time, text, room] = cue.cells;
    time.textContent = stamp(cue.start);
    text.append(...(cue.room === null ? [] : [cue.text]));
    for (const reason of cue.unsaid) {
      const hint = Object.assign(document.createElement("div"), { className: "hint", textContent: `not spoken: ${reason}` });
      text.append(hint);
    }
    room.textContent = cue.room === null ? "" : `${cue.room.toFixed(1)} s`;
    cue.row = row;
    return row;
  }));
  buttons();
}

function stamp(seconds) {
  const tenths = Math.floor(10 * seconds), two = (value) => String(value).padStart(2, "0");
  const hours = Math.floor(tenths / 36_000), minutes = Math.floor(tenths / 600) % 60;
  return `${hours ? `${hours}:${two(minutes)}` : minutes}:${two(Math.floor(tenths / 10) % 60)}.${tenths % 10}`;
}

/** How long each cue takes at the voice's own pace: told by the server without speaking it. */
async function measure() {
  const mine = film, voice = byId("film-voice").value, waiting = speaking();
  told(`Measuring ${waiting.length} cues`);
  const worker = async () => {
    for (let cue = waiting.shift(); cue && film === mine; cue = waiting.shift()) {
      const json = JSON.stringify({ text: cue.text, voice });
      cue.natural = (await patiently(() => askJSON("tts/plan", { method: "POST", json }))).seconds;
      fit(cue);
    }
  };
  await Promise.all([worker(), worker()]);
  if (film === mine) summary();
}

function fit(cue) {
  const cell = cue.cells[3], pace = cue.natural / cue.room;
  cell.textContent = `${cue.natural.toFixed(1)} s`;
  cell.className = pace > maxSpeed() + 0.001 ? "bad" : "";
  if (cell.className) cell.append(`, does not fit by ${(cue.natural / maxSpeed() - cue.room).toFixed(1)} s`);
  else if (pace > 1) cell.append(`, ×${pace.toFixed(2)}`);
}

function summary() {
  const all = speaking(), bad = all.filter((cue) => cue.natural / cue.room > maxSpeed() + 0.001).length;
  told(`${all.length} cues, ${bad ? `${bad} will not fit` : "all fit"}`);
  buttons();
}

/** What asks again while the server is away, full or stopping. Throws what will not change. */
async function patiently(call, signal) {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (signal?.aborted || ![0, 503].includes(error.status)) throw error;
      const back = new Promise((done) => server.addEventListener("back", done, { once: true }));
      await Promise.race([pause(error.retryAfter ?? 5), back]);
    }
  }
}

async function speak() {
  problem("");
  audio();
  run = new AbortController();
  buttons();
  const { signal } = run, waiting = speaking().filter((cue) => !cue.pcm), voice = byId("film-voice").value;
  const worker = async () => {
    for (let cue = waiting.shift(); cue && !signal.aborted; cue = waiting.shift()) {
      await speakOne(cue, voice, signal).catch((error) => { state(cue, signal.aborted ? "" : error.message, !signal.aborted); });
      const done = speaking().filter((one) => one.pcm).length;
      told(`${done} of ${speaking().length} spoken`);
      buttons();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  if (run?.signal === signal) run = null;
  buttons();
}

async function speakOne(cue, voice, signal) {
  cue.natural ??= (await patiently(() => askJSON("tts/plan", { method: "POST", json: JSON.stringify({ text: cue.text, voice }) }), signal)).seconds;
  const shortest = cue.natural / maxSpeed(), duration = Math.max(cue.room, shortest);
  const wanted = { text: cue.text, voice, async: true, priority: "high", ...(cue.natural > cue.room && { duration: Number(duration.toFixed(3)) }) };
  let job = await patiently(() => askJSON("tts", { method: "POST", json: JSON.stringify(wanted), signal }), signal);
  signal.addEventListener("abort", () => { if (!cue.pcm) ask(`tts/${job.request_id}`, { method: "DELETE" }).catch(() => {}); });
  while (["queued", "processing"].includes(job.status)) {
    state(cue, job.blocked_reason ?? (job.status === "queued" ? "queued" : `${Math.round(100 * job.progress)} %`));
    await pause(LOOK_SECONDS);
    signal.throwIfAborted();
    job = await patiently(() => askJSON(`tts/status/${job.request_id}`, { signal }), signal);
  }
  if (job.status !== "completed") throw new Error(job.error ?? job.status);
  const sound = await patiently(() => ask(`tts/result/${job.request_id}`, { signal }).then((reply) => reply.arrayBuffer()), signal);
  cue.pcm = sound.slice(HEADER_BYTES);
  state(cue, "");
  const hear = Object.assign(document.createElement("button"), { type: "button", className: "small", textContent: "Hear" });
  hear.setAttribute("aria-label", `Hear the cue at ${stamp(cue.start)}`);
  hear.addEventListener("click", () => play(cue.start));
  cue.cells[4].replaceChildren(hear);
}

function state(cue, words, bad = false) {
  cue.cells[4].textContent = words;
  cue.cells[4].className = bad ? "bad" : "";
}

/** Every cue's sound at its time, or when the one before has ended. */
function placed() {
  let end = 0;
  return film.cues.filter((cue) => cue.pcm).sort((a, b) => a.start - b.start).map((cue) => {
    const first = Math.max(Math.round(cue.start * RATE), end);
    end = first + cue.pcm.byteLength / 2;
    return { cue, first, end };
  });
}

function play(from) {
  silence();
  const context = audio(), track = placed();
  clock.zero = context.currentTime + 0.05 - from;
  clock.end = track.at(-1).end / RATE;
  clock.next = track.findIndex((one) => one.end / RATE > from);
  const feed = () => {
    const now = context.currentTime - clock.zero;
    while (clock.next < track.length && track[clock.next].first / RATE < now + AHEAD_SECONDS) {
      const { cue, first } = track[clock.next++], samples = fromPCM(cue.pcm), into = Math.max(0, now - first / RATE);
      const buffer = context.createBuffer(1, samples.length, RATE);
      buffer.copyToChannel(samples, 0);
      const source = new AudioBufferSourceNode(context, { buffer });
      source.connect(context.destination);
      source.start(Math.max(context.currentTime, clock.zero + first / RATE), into);
      clock.sources.add(source);
      source.onended = () => clock.sources.delete(source);
    }
    const heard = track.findLast((one) => one.first / RATE <= now && now < one.end / RATE)?.cue;
    if (heard !== clock.lit) {
      clock.lit?.row.classList.remove("now");
      heard?.row.classList.add("now");
      heard?.row.scrollIntoView({ block: "nearest" });
      clock.lit = heard;
    }
    told(`${stamp(Math.max(0, now))} of ${stamp(clock.end)}`);
    if (now > clock.end) silence();
  };
  clock.timer = setInterval(feed, 100);
  feed();
  buttons();
}

function silence() {
  clearInterval(clock.timer);
  clock.timer = null;
  for (const source of clock.sources) source.stop();
  clock.sources.clear();
  clock.lit?.row.classList.remove("now");
  clock.lit = null;
  buttons();
}

function download() {
  const parts = [], last = Math.round(Math.max(...film.cues.map((cue) => cue.end)) * RATE);
  let at = 0;
  for (const { cue, first, end } of placed()) {
    parts.push(new ArrayBuffer(2 * (first - at)), cue.pcm);
    at = end;
  }
  parts.push(new ArrayBuffer(2 * Math.max(0, last - at)));
  save(new Blob([header(Math.max(at, last)), ...parts], { type: "audio/wav" }), `${film.name || "track"}.wav`);
}

function buttons() {
  const some = film.cues.some((cue) => cue.pcm);
  byId("film-speak").disabled = Boolean(run) || !speaking().some((cue) => !cue.pcm);
  byId("film-cancel").disabled = !run;
  byId("film-play").disabled = !some;
  byId("film-play").textContent = clock.timer ? "Stop" : "Play";
  byId("film-download").disabled = !some;
}

/** Another voice: nothing of what was spoken is kept. */
function afresh() {
  byId("film-cancel").click();
  silence();
  for (const cue of film.cues) delete cue.pcm;
  if (!film.cues.length) return;
  draw();
  measure().catch((error) => problem(error.message));
}

byId("film").addEventListener("change", ({ target }) => { if (target.files[0]) take(target.files[0]); });
byId("film-speak").addEventListener("click", speak);
byId("film-cancel").addEventListener("click", () => {
  run?.abort();
  run = null;
  buttons();
});
byId("film-play").addEventListener("click", () => (clock.timer ? silence() : play(0)));
byId("film-download").addEventListener("click", download);
byId("film-voice").addEventListener("change", afresh);
byId("max-speed").addEventListener("change", () => {
  for (const cue of speaking()) if (cue.natural) fit(cue);
  if (film.cues.length) summary();
});
byId("subtitles-form").addEventListener("submit", (event) => event.preventDefault());
for (const name of ["dragover", "dragleave", "drop"]) {
  byId("film-drop").addEventListener(name, (event) => {
    event.preventDefault();
    byId("film-drop").classList.toggle("dropping", name === "dragover");
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
}
