// Every request of this page goes through here: where the server is, its key, its errors in its own words, and whether
// it is there at all.

export const base = new URL("..", import.meta.url); // behind a proxy's prefix too
export const server = new EventTarget(); // "here", "away", "back", "key"

const BEAT_SECONDS = 4, LOOK_SECONDS = 1, FIELD_KEY = "direct-tts key";
let away = false;
let description; // a promise of /openapi.json

export class Refused extends Error {
  constructor(message, status, retryAfter) {
    super(message);
    Object.assign(this, { status, retryAfter });
  }
}

export const gone = (error) => error.name === "AbortError";
export const key = () => sessionStorage.getItem(FIELD_KEY) ?? "";

export function useKey(value) {
  sessionStorage.setItem(FIELD_KEY, value);
  server.dispatchEvent(new Event("back"));
}

/** A reply with a good status. Throws Refused, in the server's words, and what an AbortSignal throws. */
export async function ask(path, { method = "GET", json, body, signal } = {}) {
  const headers = {};
  if (json !== undefined) headers["content-type"] = "application/json";
  if (key()) headers.authorization = `Bearer ${key()}`;
  let reply;
  try {
    reply = await fetch(new URL(path, base), { method, headers, body: json ?? body, signal });
  } catch (error) {
    if (gone(error)) throw error;
    lost();
    throw new Refused("The server does not answer. This page goes on as soon as it does.", 0);
  }
  found();
  if (reply.ok) return reply;
  if (reply.status === 401) server.dispatchEvent(new Event("key"));
  const told = await reply.json().catch(() => null);
  const message = told?.error?.message ?? `The server answered ${reply.status}.`;
  throw new Refused(message, reply.status, Number(reply.headers.get("retry-after")) || null);
}

export const askJSON = async (path, options) => (await ask(path, options)).json();

/** What this server can do. Nothing is asked for that it does not have. */
export function described() {
  description ??= askJSON("openapi.json").catch((error) => {
    description = undefined;
    throw error;
  });
  return description;
}

export const has = async (path, method) => Boolean((await described()).paths[path]?.[method]);

/** A connection that broke: is the server gone, or only this reply? */
export async function look() {
  try {
    server.dispatchEvent(new CustomEvent("health", { detail: await askJSON("health") }));
  } catch { /* told by ask() */ }
}

function lost() {
  if (!away) server.dispatchEvent(new Event("away"));
  away = true;
}

function found() {
  if (!away) return;
  away = false;
  description = undefined; // it may be another version
  server.dispatchEvent(new Event("back"));
}

export async function beat() {
  for (;;) {
    if (!document.hidden || away) await look();
    await new Promise((done) => setTimeout(done, 1000 * (away ? LOOK_SECONDS : BEAT_SECONDS)));
  }
}
