// Asks the public routes as any caller does, with the key of an account; reads plain answers and streams.
import { routeOf } from "./playground_code.js";

// A key for half an hour, made once for each account and environment.
export async function keyFor(account, env, csrf) {
  const place = `imagegate ${account} ${env}`;
  const kept = JSON.parse(sessionStorage.getItem(place) || "null");
  if (kept && Date.parse(kept.expires_at) - Date.now() > 60e3) return kept.key;
  const fields = new URLSearchParams({ csrf, account, env, reason: "playground" });
  const answer = await fetch("/console/playground/key", { method: "POST", body: fields, headers: { accept: "application/json" } });
  const made = await answer.json();
  if (!answer.ok) throw new Error(made.error.message);
  sessionStorage.setItem(place, JSON.stringify(made));
  return made.key;
}

function bodyOf({ said, pictures, mask }) {
  if (!pictures.length) return { body: JSON.stringify(said), headers: { "content-type": "application/json" } };
  const body = new FormData();
  for (const [name, value] of Object.entries(said)) body.append(name, String(value));
  const add = (name, one) => (one.text ? body.append(name, one.text) : body.append(name, one.blob, one.file));
  for (const one of pictures) add("image[]", one);
  if (mask) add("mask", mask);
  return { body, headers: {} };
}

// asked: as playground_code.js has it, with a blob beside each file. key: gives one. heard: called with every preview.
export async function ask(asked, { key, dry = false, signal, heard = () => {} }) {
  const send = async () => {
    const { body, headers } = bodyOf(asked);
    return fetch(routeOf(asked.pictures) + (dry ? "?dryRun=true" : ""), {
      method: "POST", signal, credentials: "omit", body, headers: { ...headers, authorization: `Bearer ${await key()}` },
    });
  };
  let answer = await send();
  if (answer.status === 401) {
    sessionStorage.clear();
    answer = await send();
  }
  if ((answer.headers.get("content-type") || "").startsWith("text/event-stream")) return listen(answer, heard);
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error.message);
  return told;
}

// The completed events together, in the shape of a plain answer.
async function listen(answer, heard) {
  const done = [];
  for await (const event of events(answer)) {
    if (event.error) throw new Error(event.error.message);
    if (event.type.endsWith("partial_image")) heard(event);
    else done.push(event);
  }
  if (!done.length) throw new Error("The stream broke off. What a provider was asked for is still finished: look under Requests.");
  return { ...done[0], data: done };
}

async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    let from = Math.max(text.length - 1, 0);
    text += value;
    for (let end = text.indexOf("\n\n", from); end >= 0; end = text.indexOf("\n\n", from)) {
      const data = text.slice(0, end).split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5));
      text = text.slice(end + 2);
      from = 0;
      if (data.length) yield JSON.parse(data.join("\n"));
    }
  }
}
