// Watch: who is served and how far ahead of their playback, jobs, the last minutes' figures, the machine.

import { askJSON } from "./server.js";

const byId = (id) => document.getElementById(id);
const LOOK_SECONDS = 1, FULL_LEAD_SECONDS = 10;
const FIRST_LIMITS = [0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5], FACTOR_LIMITS = [0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 1, 2];
let shown = false, timer;

async function watch() {
  clearTimeout(timer);
  if (!shown) return;
  if (!document.hidden) {
    try {
      const [health, stats, { jobs }] = await Promise.all(["health", "stats", "tts/jobs"].map((path) => askJSON(path)));
      byId("watch-problem").textContent = "";
      machine(health, stats);
      listeners(stats.listeners);
      chart("first", stats.first_audio, FIRST_LIMITS, stats.recent_seconds, (value) => (value < 1 ? `${Math.round(1000 * value)} ms` : `${value.toFixed(1)} s`));
      chart("factor", stats.real_time_factor, FACTOR_LIMITS, stats.recent_seconds, (value) => value.toFixed(3));
      table(jobs);
    } catch (error) {
      byId("watch-problem").textContent = error.message;
    }
  }
  clearTimeout(timer);
  timer = setTimeout(watch, 1000 * LOOK_SECONDS);
}

function element(name, content, className) {
  const one = document.createElement(name);
  if (className) one.className = className;
  one.append(...[content].flat());
  return one;
}

/** Rows that stay keep their elements, so that a focused button does not go from under the finger. */
function keep(list, rows) {
  const old = new Map([...list.children].map((one) => [one.dataset.id, one]));
  const now = rows.map(([id, state, make]) => {
    const one = old.get(id);
    if (one && one.dataset.state === state) return one;
    const made = make();
    Object.assign(made.dataset, { id, state });
    if (one?.contains(document.activeElement)) queueMicrotask(() => made.querySelector("button")?.focus());
    return made;
  });
  if (now.length !== list.children.length || now.some((one, i) => one !== list.children[i])) list.replaceChildren(...now);
}

function machine(health, stats) {
  const { outcomes } = stats, { running, waiting } = health.stats, { queued, processing } = health.jobs;
  const figures = [
    ["Listeners", waiting ? `${running} and ${waiting} waiting` : running],
    ["Jobs", queued ? `${processing} and ${queued} queued` : processing],
    ["Spoken", `${Math.round(stats.audio_seconds)} s`], ["Underruns", stats.underruns],
    ["Completed", outcomes.completed], ["Left early", outcomes.disconnected],
    ["Refused", outcomes.refused], ["Failed", outcomes.failed],
    ["Memory", `${(stats.memory_bytes / 1e9).toFixed(2)} GB`], ["Machine's memory", `${health.memory} % used`],
    ["Processors", `${health.cpu} % busy`], ["Model", health.model],
    [`Device: ${health.device}`, health.device_reason, "says full"],
    ...(/jobs/.test(health.message) ? [["Attention", health.message, "says full"]] : []),
  ];
  keep(byId("machine"), figures.map(([name, value, kind]) => [name, String(value), () =>
    element("div", [element("dt", name), element("dd", String(value))], kind)]));
}

function listeners(all) {
  const rows = all.map((one) => [one.request_id, JSON.stringify(one), () => {
    const lead = one.lead ?? 0, fill = element("i", []);
    fill.style.width = `${Math.max(0, Math.min(100, (100 * lead) / FULL_LEAD_SECONDS))}%`;
    const told = one.lead === null ? "waits for its first sound" : `${lead.toFixed(1)} s ahead`;
    return element("li", [element("code", one.request_id), element("span", told, lead < 0 ? "bad" : ""),
      element("span", fill, "bar"), element("span", `${one.sent.toFixed(1)} of ${(one.sent + one.pending).toFixed(1)} s sent`)]);
  }]);
  keep(byId("listeners"), rows.length ? rows : [["none", "", () => element("li", "Nobody listens.", "hint")]]);
}

function chart(name, values, limits, seconds, said) {
  const sorted = values.map((one) => one.value).sort((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  const minutes = Math.round(seconds / 60);
  byId(`${name}-told`).textContent = sorted.length
    ? `median ${said(at(0.5))}, p95 ${said(at(0.95))}; ${sorted.length} in ${minutes} minutes`
    : `nothing in ${minutes} minutes`;
  const bins = new Array(limits.length + 1).fill(0); // the last: above all limits
  for (const value of sorted) bins[[...limits, Infinity].findIndex((limit) => value <= limit)] += 1;
  const highest = Math.max(1, ...bins);
  keep(byId(`${name}-chart`), [["chart", bins.join(), () => {
    const bars = bins.map((count, i) => {
      const bar = element("i", []);
      bar.style.height = `${(100 * count) / highest}%`;
      bar.title = `${count} ${i < limits.length ? `up to ${said(limits[i])}` : `above ${said(limits.at(-1))}`}`;
      return bar;
    });
    const axis = [0, Math.floor(limits.length / 2), limits.length - 1].map((i) => element("span", said(limits[i])));
    const drawn = element("div", [element("div", bars, "chart"), element("div", axis, "axis")]);
    drawn.setAttribute("aria-hidden", "true"); // the caption says it
    return drawn;
  }]]);
}

function table(jobs) {
  byId("jobs").hidden = !jobs.length;
  byId("no-jobs").hidden = Boolean(jobs.length);
  keep(byId("jobs").tBodies[0], jobs.map((job) => [job.request_id, JSON.stringify(job), () => row(job)]));
}

function row(job) {
  const state = [job.status];
  if (job.status === "processing") {
    const fill = element("i", []);
    fill.style.width = `${100 * job.progress}%`;
    state.splice(0, 1, `${Math.round(100 * job.progress)} % `, element("span", fill, "bar"));
  }
  if (job.queue_position) state.push(`, place ${job.queue_position}`);
  for (const reason of [job.blocked_reason, job.error]) if (reason) state.push(element("div", reason, "hint"));
  const ends = ["queued", "processing"].includes(job.status);
  const button = element("button", ends ? "Cancel" : "Remove", "small");
  button.setAttribute("aria-label", `${button.textContent} job ${job.request_id.slice(0, 8)}`);
  button.addEventListener("click", async () => {
    button.disabled = true;
    await askJSON(`tts/${job.request_id}`, { method: "DELETE" }).catch((error) => { byId("watch-problem").textContent = error.message; });
    watch();
  });
  return element("tr", [element("td", element("code", job.request_id.slice(0, 8))), element("td", job.voice),
    element("td", job.duration.toFixed(1)), element("td", state), element("td", button)]);
}

document.addEventListener("part", ({ detail }) => {
  shown = detail === "watch";
  watch();
});
document.addEventListener("visibilitychange", watch);
