// The openai package as its users call it: node speak.mjs http://localhost:8000/v1 FOLDER '{"input": "Hello."}'
import fs from "node:fs/promises";
import path from "node:path";
import OpenAI from "openai";

const [baseURL, folder, asked] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const wanted = { model: "gpt-4o-mini-tts", voice: "alloy", ...JSON.parse(asked) };

for (const response_format of ["mp3", "opus", "aac", "flac", "wav", "pcm"]) {
  const reply = await client.audio.speech.create({ ...wanted, response_format });
  await fs.writeFile(path.join(folder, `whole.${response_format}`), Buffer.from(await reply.arrayBuffer()));
}

const events = await client.audio.speech.create({ ...wanted, response_format: "pcm", stream_format: "sse" });
await fs.writeFile(path.join(folder, "events.txt"), await events.text());

const models = [];
for await (const model of client.models.list()) models.push(model.id);
const model = await client.models.retrieve("tts-1");

const refused = await client.audio.speech.create({ ...wanted, voice: "nobody" }).catch((error) => error);

const leaving = new AbortController();
const long = { ...wanted, input: `${wanted.input} `.repeat(40), response_format: "pcm" };
const reply = await client.audio.speech.create(long, { signal: leaving.signal });
const first = await reply.body.getReader().read();
leaving.abort();

console.log(
  JSON.stringify({
    models,
    model: model.id,
    refused: { name: refused.constructor.name, status: refused.status, code: refused.code, message: refused.message },
    heard: first.value.length,
  }),
);
