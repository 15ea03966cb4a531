// Sound that is played while it is made. Pieces are put end to end on the audio clock, sample by sample, ahead of time:
// what the page does meanwhile cannot make a gap. A piece that comes too late is an underrun, and is counted.
//
// Plain buffers, and no AudioWorklet: that one exists only where a page came by HTTPS or from this machine.

import { RATE } from "./wav.js";

const LEAD_SECONDS = 0.03; // between "play this" and its first sample
let context;

/** Made at the first click: browsers let no page sound before. */
export function audio() {
  context ??= new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
  if (context.state !== "running") context.resume();
  return context;
}

export class Player extends EventTarget { // "ended"
  underruns = 0;
  samples = 0; // received
  whole = false; // nothing more comes
  #pieces = []; // {first, samples}
  #sources = new Set();
  #zero = null; // the audio clock's time of sample 0
  #scheduled = 0;
  #heard = 0;
  #stopped = true;

  /** Forget what was played before. */
  begin() {
    this.stop();
    Object.assign(this, { underruns: 0, samples: 0, whole: false });
    this.#pieces = [];
    this.#heard = this.#scheduled = 0;
    this.#zero = null;
    this.#stopped = false;
    audio();
  }

  push(samples) {
    if (!samples.length) return;
    this.#pieces.push({ first: this.samples, samples });
    this.samples += samples.length;
    if (!this.#stopped) this.#schedule(this.#pieces.at(-1));
  }

  end() {
    this.whole = true;
    this.#over();
  }

  /** What is here can be played again; nothing more comes. */
  stop() {
    if (!this.#stopped) this.#heard = this.position;
    this.#silence();
    this.#stopped = this.whole = true;
  }

  /** Play what is here from so many seconds on; what comes later follows. */
  playFrom(seconds) {
    this.#silence();
    audio();
    const first = Math.max(0, Math.min(Math.round(seconds * RATE), this.samples));
    this.#stopped = false;
    this.#heard = first / RATE;
    this.#scheduled = first;
    this.#zero = null;
    for (const piece of this.#pieces) if (piece.first + piece.samples.length > first) this.#schedule(piece);
    this.#over();
  }

  get playing() { return !this.#stopped; }

  /** Seconds of sound that have reached the ear. */
  get position() {
    if (this.#stopped || this.#zero === null) return this.#heard;
    const now = audio().currentTime - (context.outputLatency || 0) - this.#zero;
    this.#heard = Math.max(this.#heard, Math.min(now, this.#scheduled / RATE));
    return this.#heard;
  }

  get ahead() { return this.samples / RATE - this.position; }

  #schedule({ first, samples }) {
    const from = Math.max(0, this.#scheduled - first);
    const earliest = audio().currentTime + LEAD_SECONDS;
    if (this.#zero !== null && this.#zero + this.#scheduled / RATE < audio().currentTime) {
      this.underruns += 1;
      this.#zero = null;
    }
    this.#zero ??= Math.ceil(earliest * RATE) / RATE - this.#scheduled / RATE;
    const buffer = context.createBuffer(1, samples.length - from, RATE);
    buffer.copyToChannel(from ? samples.subarray(from) : samples, 0);
    const source = new AudioBufferSourceNode(context, { buffer });
    source.connect(context.destination);
    source.start(this.#zero + this.#scheduled / RATE);
    this.#scheduled += samples.length - from;
    this.#sources.add(source);
    source.onended = () => {
      this.#sources.delete(source);
      this.#over();
    };
  }

  #over() {
    if (!this.whole || this.#sources.size || this.#stopped) return;
    this.#heard = this.samples / RATE;
    this.#stopped = true;
    this.dispatchEvent(new Event("ended"));
  }

  #silence() {
    for (const source of this.#sources) {
      source.onended = null;
      source.stop();
    }
    this.#sources.clear();
  }
}
