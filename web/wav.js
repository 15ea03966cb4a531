// The bytes of a WAV, as this server sends them: 44 bytes of header, then 16 bit, one channel.

export const RATE = 24000;
export const HEADER_BYTES = 44;

/** A reply's samples as they come: {bytes, samples: Float32Array}. A sample is never cut in two. */
export async function* streamed(reply) {
  const reader = reply.body.getReader();
  let toSkip = HEADER_BYTES, rest = new Uint8Array(0);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const sound = value.subarray(Math.min(toSkip, value.length));
    toSkip -= value.length - sound.length;
    const joined = new Uint8Array(rest.length + sound.length);
    joined.set(rest);
    joined.set(sound, rest.length);
    const whole = joined.length - (joined.length % 2);
    rest = joined.slice(whole);
    yield { bytes: value, samples: fromPCM(joined.buffer.slice(0, whole)) };
  }
}

export function fromPCM(buffer) {
  const view = new DataView(buffer), samples = new Float32Array(buffer.byteLength >> 1);
  for (let i = 0; i < samples.length; i++) samples[i] = view.getInt16(2 * i, true) / 32768;
  return samples;
}

export function toPCM(samples) {
  const view = new DataView(new ArrayBuffer(2 * samples.length));
  samples.forEach((value, i) => view.setInt16(2 * i, Math.round(32767 * Math.max(-1, Math.min(1, value))), true));
  return view.buffer;
}

export function header(samples, rate = RATE) {
  const view = new DataView(new ArrayBuffer(HEADER_BYTES));
  const word = (at, text) => [...text].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  word(0, "RIFF"); view.setUint32(4, 36 + 2 * samples, true); word(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true); view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  word(36, "data"); view.setUint32(40, 2 * samples, true);
  return view.buffer;
}

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
