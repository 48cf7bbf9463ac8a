// The service's API: questions out, JSON or a Refusal back.

import { find } from "./dom.js";
import { askForKey, keyHeader } from "./key.js";

export class Refusal extends Error {
  constructor(message, requestId = "", waitS = 0) {
    super(message);
    this.requestId = requestId;
    this.waitS = waitS; // after which another attempt is worth making
  }
}

// Ask the service and return its JSON, or throw a Refusal that a person can read. Where the service
// wants an API key, ask for one and try again.
export async function ask(path, options = {}) {
  const headers = { ...options.headers, ...keyHeader() };
  const response = await fetch(path, { ...options, headers }).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The service does not answer. Is it running?");
  });
  const body = await response.json().catch(() => null);
  if (response.ok && body) return body;
  if (response.status === 401) {
    await askForKey(find("key-place"), body?.error?.message ?? "needed");
    return ask(path, options);
  }
  throw refusalOf(response, body);
}

function refusalOf(response, body) {
  const { message = `status ${response.status}`, request_id: id } = body?.error ?? {};
  const wait = Number(response.headers.get("Retry-After"));
  return new Refusal(wait ? `${message}; try again in ${wait} s` : message, id, wait);
}

export const listModels = () => ask("v1/models");

// Without a version: the latest one.
export function describeModel(name, version = "") {
  const query = version ? `?${new URLSearchParams({ version })}` : "";
  return ask(`v1/models/${encodeURIComponent(name)}${query}`);
}

// Classes as the API takes them: a bare number could be the label of another class.
export const byIndex = (indices) => indices.map((index) => `index:${index}`).join(",");

// The answer to one picture, its first result beside the rest.
export async function predict(file, query, signal) {
  const answer = await ask(predictPath(query), {
    method: "POST",
    body: file,
    headers: { "Content-Type": "application/octet-stream" },
    signal,
  });
  return { ...answer, result: answer.results[0] };
}

// A query's path; what is empty is left out.
export function predictPath(query) {
  const given = Object.entries(query).filter(([, value]) => value !== "");
  return `v1/predict?${new URLSearchParams(given)}`;
}
