// Clone: a sample, chosen or recorded, and what is said in it; heard with other words, and kept as a voice.

import { ask, askJSON, gone, has } from "./server.js";
import { audio, Player } from "./player.js";
import { header, streamed, toPCM } from "./wav.js";

const byId = (id) => document.getElementById(id);
const MAX_SECONDS = 12, READ_BY_SERVER = /\.(wav|flac|ogg|mp3|aiff?)$/i;
const player = new Player();
let sample = null, recorder = null, abort = null;

const told = (words) => { byId("clone-told").textContent = words; };
const problem = (words) => { byId("clone-problem").textContent = words; };

async function take(file) {
  problem("");
  try {
    sample = READ_BY_SERVER.test(file.name) ? file : await asWAV(file);
  } catch {
    sample = file; // the server says what is wrong with it
  }
  const sound = byId("sample-sound");
  URL.revokeObjectURL(sound.src);
  Object.assign(sound, { src: URL.createObjectURL(sample), hidden: false });
  byId("record-told").textContent = sample.name;
}

/** Whatever this browser can decode, as a WAV in one channel. */
async function asWAV(blob) {
  const decoded = await audio().decodeAudioData(await blob.arrayBuffer());
  const mono = new Float32Array(decoded.length);
  for (let channel = 0; channel < decoded.numberOfChannels; channel++) {
    decoded.getChannelData(channel).forEach((value, i) => { mono[i] += value / decoded.numberOfChannels; });
  }
  return new File([header(mono.length, decoded.sampleRate), toPCM(mono)], "sample.wav", { type: "audio/wav" });
}

async function record() {
  if (recorder) return recorder.stop();
  problem("");
  try {
    // As it is: what a telephone does to a voice would be learned too.
    const heard = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: heard });
    const parts = [];
    recorder = new MediaRecorder(stream);
    recorder.ondataavailable = ({ data }) => parts.push(data);
    recorder.onstop = async () => {
      const type = recorder.mimeType;
      recorder = null;
      byId("record").textContent = "Record";
      for (const track of stream.getTracks()) track.stop();
      await take(new File(parts, "recorded", { type }));
    };
    recorder.start();
    byId("record").textContent = "Stop recording";
    byId("record-told").textContent = `Say two or three sentences; it ends by itself after ${MAX_SECONDS} s.`;
    const mine = recorder;
    setTimeout(() => { if (recorder === mine) mine.stop(); }, 1000 * MAX_SECONDS);
  } catch (error) {
    problem(`No microphone: ${error.message}`);
  }
}

function complete() {
  if (!sample) problem("Choose a sample first, or record one.");
  else if (!byId("sample-text").value.trim()) problem("Type what is said in the sample.");
  else return true;
  return false;
}

async function hear() {
  if (abort) return halt();
  problem("");
  if (!complete()) return;
  abort = new AbortController();
  byId("clone-hear").textContent = "Stop";
  player.begin();
  told("Asked");
  const body = new FormData();
  body.set("text", byId("clone-text").value);
  body.set("ref_text", byId("sample-text").value);
  body.set("audio_file", sample, sample.name);
  try {
    const reply = await ask("v1/tts", { method: "POST", body, signal: abort.signal });
    told("Speaking");
    for await (const { samples } of streamed(reply)) player.push(samples);
    player.end();
  } catch (error) {
    if (gone(error)) return;
    problem(error.message);
    halt();
  }
}

function halt() {
  abort?.abort();
  abort = null;
  player.stop();
  told("");
  byId("clone-hear").textContent = "Hear it";
}

async function keep() {
  problem("");
  const name = byId("clone-name").value.trim();
  if (!complete()) return;
  if (!name) return problem("Give the voice a name.");
  const body = new FormData();
  body.set("name", name);
  body.set("text", byId("sample-text").value);
  body.set("audio", sample, sample.name);
  told("Sending");
  try {
    const { used } = await askJSON("voices", { method: "POST", body });
    const part = used ? `, from ${used.start} to ${used.end} s of the sample` : "";
    told(`Kept${part}: ${name} can be chosen wherever there are voices.`);
    document.dispatchEvent(new Event("voices-changed"));
  } catch (error) {
    told("");
    problem(error.message);
  }
}

async function list({ voices, unusable = [] }) {
  const removable = await has("/voices/{name}", "delete");
  byId("clone-hear").hidden = byId("clone-says").hidden = !(await has("/v1/tts", "post"));
  byId("voices").replaceChildren(...voices.map((voice) => {
    const line = document.createElement("li"), name = document.createElement("b"), rest = document.createElement("span");
    name.textContent = voice.name;
    rest.textContent = [voice.language, voice.seconds && `${voice.seconds.toFixed(1)} s`].filter(Boolean).join(", ");
    line.append(name, rest);
    if (removable && voice.name !== "default") line.append(remover(voice.name));
    return line;
  }));
  for (const { name, problem } of unusable) {
    const line = document.createElement("li");
    line.className = "problem";
    line.textContent = `${name} cannot be used: ${problem}`;
    byId("voices").append(line);
  }
}

/** Pressed twice: the file is gone then. */
function remover(name) {
  const button = Object.assign(document.createElement("button"), { type: "button", className: "small", textContent: "Remove" });
  button.setAttribute("aria-label", `Remove voice ${name}`);
  button.addEventListener("click", async () => {
    if (button.textContent === "Remove") {
      button.textContent = "Remove for good";
      button.setAttribute("aria-label", `Remove voice ${name} for good`);
      return;
    }
    try {
      await ask(`voices/${encodeURIComponent(name)}`, { method: "DELETE" });
      document.dispatchEvent(new Event("voices-changed"));
    } catch (error) {
      problem(error.message);
    }
  });
  return button;
}

byId("sample").addEventListener("change", ({ target }) => { if (target.files[0]) take(target.files[0]); });
byId("record").addEventListener("click", record);
byId("clone-hear").addEventListener("click", hear);
byId("clone-keep").addEventListener("click", keep);
byId("clone-form").addEventListener("submit", (event) => event.preventDefault());
player.addEventListener("ended", halt);
if (!navigator.mediaDevices || !window.MediaRecorder) {
  byId("record").disabled = true;
  byId("record-told").textContent = "Browsers give a microphone to pages from this machine or by HTTPS alone.";
}
for (const name of ["dragover", "dragleave", "drop"]) {
  byId("sample-drop").addEventListener(name, (event) => {
    event.preventDefault();
    byId("sample-drop").classList.toggle("dropping", name === "dragover");
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
}
document.addEventListener("voices", ({ detail }) => list(detail));
askJSON("voices").then(list).catch(() => {});
