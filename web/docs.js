// /openapi.json as a page.

import { askJSON } from "./server.js";

const byId = (id) => document.getElementById(id);

function element(name, ...content) {
  const one = document.createElement(name);
  one.append(...content);
  return one;
}

const kinds = ({ type, enum: values, anyOf }) =>
  values ? values.join(", ") : anyOf ? anyOf.map(kinds).join(" or ") : [type ?? "any"].flat().filter((one) => one !== "null").join(" or ");

function limits(schema) {
  const { minimum, exclusiveMinimum, maximum, minLength, maxLength, pattern } = schema;
  const said = [];
  const most = maximum > Number.MAX_SAFE_INTEGER ? "2^63 - 1" : maximum;
  if (minimum !== undefined) said.push(most === undefined ? `at least ${minimum}` : `${minimum} to ${most}`);
  if (exclusiveMinimum !== undefined) said.push(`above ${exclusiveMinimum}, at most ${most}`);
  if (maxLength !== undefined) said.push(`${minLength ? "1 to" : "at most"} ${maxLength} characters`);
  if (pattern && pattern !== "\\S") said.push(`as ${pattern}`);
  if (schema.default !== undefined) said.push(`else ${JSON.stringify(schema.default)}`);
  return said.join(", ");
}

function table(head, rows) {
  const scope = (text) => Object.assign(element("th", text), { scope: "col" });
  const made = element("table", element("thead", element("tr", ...head.map(scope))),
    element("tbody", ...rows.map((row) => element("tr", ...row.map((cell) => element("td", cell))))));
  const wide = Object.assign(element("div", made), { className: "wide", tabIndex: 0 });
  wide.setAttribute("role", "region");
  wide.setAttribute("aria-label", head[0]);
  return wide;
}

const fieldRows = (fields, required) => fields.map(([name, schema]) =>
  [name, kinds(schema), [required.includes(name) && "must be there", limits(schema)].filter(Boolean).join(", "), schema.description ?? ""]);

function route(path, method, { description, parameters = [], requestBody, responses, security }, wantsKey) {
  const part = Object.assign(element("section"), { className: "route" });
  const open = wantsKey && security?.length === 0 ? "; needs no key" : "";
  part.append(element("h2", element("b", method.toUpperCase()), ` ${path}`));
  if (description || open) part.append(element("p", `${description ?? ""}${open}`));
  if (parameters.length) {
    const required = parameters.filter((one) => one.required).map((one) => one.name);
    part.append(table([`In the ${parameters[0].in}`, "Type", "Limits", "Meaning"],
      fieldRows(parameters.map((one) => [one.name, { description: one.description, ...one.schema }]), required)));
  }
  for (const [type, { schema }] of Object.entries(requestBody?.content ?? {})) {
    const fields = Object.entries(schema.properties ?? {});
    if (fields.length) part.append(table([`In the body (${type})`, "Type", "Limits", "Meaning"], fieldRows(fields, schema.required ?? [])));
    else part.append(element("p", `Body: ${type}. ${schema.description ?? ""}`));
  }
  part.append(table(["Answer", "Type", "Meaning"], Object.entries(responses).map(([status, { description, content }]) =>
    [status, Object.keys(content ?? {}).join(", "), description])));
  return part;
}

try {
  const { info, paths, security } = await askJSON("openapi.json");
  byId("version").textContent = `version ${info.version}`;
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, one] of Object.entries(methods)) byId("routes").append(route(path, method, one, security?.length));
  }
} catch (error) {
  byId("problem").textContent = error.message;
}
