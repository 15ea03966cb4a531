// A speech's picture: its whole length is known before its first sample, so that what is still to be made has its place.

const BAR = 2, GAP = 1;

export class Waveform {
  #canvas; #peaks = []; #perBar = 1; #all = 0; #at = 0; #drawn = "";

  constructor(canvas) {
    this.#canvas = canvas;
    new ResizeObserver(() => this.draw(0, true)).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw(0, true));
  }

  begin(samples) {
    this.#all = samples;
    this.#perBar = Math.max(1, Math.floor(samples / 600)); // finer than any screen needs
    this.#peaks = [];
    this.#at = 0;
    this.draw(0, true);
  }

  push(samples) {
    for (const value of samples) {
      const bin = Math.floor(this.#at++ / this.#perBar);
      this.#peaks[bin] = Math.max(this.#peaks[bin] ?? 0, Math.abs(value));
    }
  }

  /** `share` of the speech that has been heard. */
  draw(share, anew = false) {
    const canvas = this.#canvas, width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width) return;
    const bars = Math.floor(width / (BAR + GAP)), played = Math.floor(share * bars);
    const state = `${width} ${played} ${this.#at}`;
    if (state === this.#drawn && !anew) return;
    this.#drawn = state;
    const dots = devicePixelRatio || 1, paint = canvas.getContext("2d"), style = getComputedStyle(canvas);
    canvas.width = width * dots;
    canvas.height = height * dots;
    paint.scale(dots, dots);
    const [accent, unplayed, line] = ["--accent", "--unplayed", "--line"].map((name) => style.getPropertyValue(name));
    const bins = Math.max(1, this.#all / this.#perBar);
    for (let bar = 0; bar < bars; bar++) {
      const from = Math.floor((bar / bars) * bins), to = Math.max(from + 1, Math.floor(((bar + 1) / bars) * bins));
      const peaks = this.#peaks.slice(from, to);
      const tall = peaks.length ? Math.max(2, Math.min(1, 1.4 * Math.max(...peaks)) * height) : 2;
      paint.fillStyle = !peaks.length ? line : bar < played ? accent : unplayed;
      paint.fillRect(bar * (BAR + GAP), (height - tall) / 2, BAR, tall);
    }
  }
}
