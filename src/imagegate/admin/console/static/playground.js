// The form is made from what GET /v1/models/{id}?schema=true says; pictures are drawn through the public route.
"use strict";
(() => {
  const form = document.getElementById("play");
  if (!form) return;
  const by = (id) => document.getElementById(id);
  const { base, csrf, currency } = form.dataset;
  const unit = Number(form.dataset.unit);
  const chosen = JSON.parse(form.dataset.chosen);
  const FIRST = ["size", "aspect_ratio", "quality", "n", "style", "output_format", "background", "seed"];
  const LEFT_OUT = ["prompt", "model", "stream", "partial_images", "image", "mask", "response_format", "user", "routing", "strict"];
  let schema = {};
  let waiting = null;
  let asked = 0;

  const money = (tokens) => `${(tokens / unit).toLocaleString(undefined, { maximumFractionDigits: 4 })} ${currency}`;

  function make(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  const ignored = (told) => {
    const words = Object.values(told.treatment || {}).flatMap((t) => (typeof t === "string" ? [t] : Object.values(t)));
    return words.length > 0 && words.every((word) => word === "ignored" || word === "refused");
  };

  const refused = (told, value) => {
    const ways = Object.values(told.treatment || {});
    return ways.length > 0 && ways.every((t) => typeof t === "object" && t[value] === "refused");
  };

  function field(name, told) {
    const values = (told.listed || told.enum || []).filter((value) => !refused(told, String(value)));
    let input;
    if (values.length || told.type === "boolean") {
      input = make("select", { name }, make("option", { value: "" }, told.default ? `usual (${told.default})` : "usual"));
      for (const value of values.length ? values : ["true", "false"]) input.append(make("option", { value }, String(value)));
    } else if (told.type === "integer" || told.type === "number") {
      input = make("input", { name, type: "number", step: told.type === "integer" ? "1" : "any" });
      if (told.minimum !== undefined) input.min = told.minimum;
      if (told.maximum !== undefined) input.max = told.maximum;
    } else {
      input = make("input", { name, autocomplete: "off" });
      const ways = Object.values(told.treatment || {}).filter((t) => typeof t === "object");
      const good = [...new Set(ways.flatMap((t) => Object.keys(t)))].filter((value) => !refused(told, value) && value !== "text" && value !== "any");
      if (good.length) {
        input.setAttribute("list", `values-${name}`);
        by("lists").append(make("datalist", { id: `values-${name}` }, ...good.map((value) => make("option", { value }))));
      }
      if (told.maxLength) input.maxLength = told.maxLength;
    }
    if (chosen[name] !== undefined) input.value = chosen[name];
    return make("label", { title: told.description || "" }, `${name} `, input);
  }

  async function describe() {
    const answer = await fetch(`/v1/models/${by("model").value}?schema=true`);
    if (!answer.ok) return;
    const model = await answer.json();
    schema = model.parameters;
    by("lists").replaceChildren();
    const names = Object.keys(schema).filter((name) => !LEFT_OUT.includes(name) && !ignored(schema[name]));
    const order = (name) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);
    names.sort((a, b) => order(a) - order(b));
    const first = names.filter((name) => FIRST.slice(0, 4).includes(name));
    by("fields").replaceChildren(...first.map((name) => field(name, schema[name])));
    by("further").replaceChildren(...names.filter((name) => !first.includes(name)).map((name) => field(name, schema[name])));
    estimateSoon();
  }

  const models = () => [...new Set([by("model").value, by("second").value, by("third").value])].filter((id) => id);

  function body() {
    const said = { model: by("model").value, prompt: by("prompt").value };
    for (const input of form.querySelectorAll(".fields [name]")) {
      if (input.value === "") continue;
      const kind = (schema[input.name] || {}).type;
      said[input.name] = kind === "integer" || kind === "number" ? Number(input.value)
        : kind === "boolean" ? input.value === "true" : input.value;
    }
    return said;
  }

  async function key() {
    const place = `imagegate ${by("account").value} ${by("env").value}`;
    const kept = JSON.parse(sessionStorage.getItem(place) || "null");
    if (kept && Date.parse(kept.expires_at) - Date.now() > 60e3) return kept.key;
    const fields = new URLSearchParams({ csrf, account: by("account").value, env: by("env").value, reason: "playground" });
    const answer = await fetch("/console/playground/key", { method: "POST", body: fields, headers: { accept: "application/json" } });
    const made = await answer.json();
    if (!answer.ok) throw new Error(made.error.message);
    sessionStorage.setItem(place, JSON.stringify(made));
    return made.key;
  }

  async function ask(said, dry, signal) {
    const send = async () => fetch(`/v1/images/generations${dry ? "?dryRun=true" : ""}`, {
      method: "POST", signal, credentials: "omit", body: JSON.stringify(said),
      headers: { "content-type": "application/json", authorization: `Bearer ${await key()}` },
    });
    let answer = await send();
    if (answer.status === 401) {
      sessionStorage.clear();
      answer = await send();
    }
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.error.message);
    return { told, headers: answer.headers };
  }

  async function estimate() {
    const turn = ++asked;
    if (!by("prompt").value.trim()) return;
    show();
    let text;
    try {
      const said = body();
      await key();
      const all = await Promise.all(models().map(async (model) => (await ask({ ...said, model }, true)).told));
      const tokens = all.reduce((sum, told) => sum + told.hold_tokens, 0);
      const [first] = all;
      const what = all.length > 1 ? `${all.length} models` : `${first.size}${first.quality ? `, ${first.quality}` : ""}, by ${first.provider}`;
      text = `${all.some((told) => told.maximum) ? "At most " : ""}${money(tokens)} (${tokens.toLocaleString()} tokens), ${what}`;
    } catch (error) {
      text = error.message;
    }
    if (turn === asked) by("estimate").textContent = text;
  }

  let timer = 0;
  function estimateSoon() {
    clearTimeout(timer);
    timer = setTimeout(estimate, 600);
  }

  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const python = (said) => Object.entries(said).map(([name, v]) => `    ${name}=${v === true ? "True" : v === false ? "False" : JSON.stringify(v)},`).join("\n");
  const KNOWN = ["model", "prompt", "n", "size", "quality", "style", "output_format", "output_compression", "background", "moderation", "user"];

  function show() {
    const said = body();
    by("code").hidden = false;
    by("as-curl").textContent = `curl ${base}/v1/images/generations \\\n  -H "Authorization: Bearer $IMAGEGATE_KEY" -H "Content-Type: application/json" \\\n  -d ${quoted(JSON.stringify(said))}`;
    const plain = Object.fromEntries(Object.entries(said).filter(([name]) => KNOWN.includes(name)));
    const extra = Object.fromEntries(Object.entries(said).filter(([name]) => !KNOWN.includes(name)));
    const more = Object.keys(extra).length ? `\n    extra_body={${Object.entries(extra).map(([n, v]) => `${JSON.stringify(n)}: ${v === true ? "True" : v === false ? "False" : JSON.stringify(v)}`).join(", ")}},` : "";
    by("as-python").textContent = `import os\nfrom openai import OpenAI\n\nclient = OpenAI(base_url="${base}/v1", api_key=os.environ["IMAGEGATE_KEY"])\nreply = client.images.generate(\n${python(plain)}${more}\n)\nprint(reply.data[0].url)`;
    by("as-node").textContent = `import OpenAI from "openai";\n\nconst client = new OpenAI({ baseURL: "${base}/v1", apiKey: process.env.IMAGEGATE_KEY });\nconst reply = await client.images.generate(${JSON.stringify(said, null, 2)});\nconsole.log(reply.data[0].url);`;
  }

  function result(place, told, seconds) {
    const { metadata } = told;
    const pictures = told.data.map((image) => make("img", {
      src: image.b64_json ? `data:image/${told.output_format};base64,${image.b64_json}` : new URL(image.url).pathname,
      alt: by("prompt").value,
    }));
    const line = make("p", { class: "drawn" }, make("strong", {}, metadata.model), ` ${told.size}, ${seconds.toFixed(1)} s, ${money(metadata.charged_tokens)} (${metadata.charged_tokens.toLocaleString()} tokens), by ${metadata.provider}. `,
      make("a", { href: `/console/requests/${metadata.id}` }, "Look at the request"));
    place.replaceChildren(make("div", { class: "large" }, ...pictures), line);
  }

  async function drawOne(said, place, signal) {
    const began = performance.now();
    const passed = () => (performance.now() - began) / 1000;
    const clock = setInterval(() => { place.replaceChildren(make("p", { class: "empty" }, `${said.model}: drawing … ${passed().toFixed(1)} s`)); }, 100);
    try {
      const { told } = await ask(said, false, signal);
      clearInterval(clock);
      result(place, told, passed());
    } catch (error) {
      clearInterval(clock);
      const text = error.name === "AbortError" ? "No longer waiting. What a provider was asked for is still finished: look under Requests." : `${said.model}: ${error.message}`;
      place.replaceChildren(make("p", { class: "note bad" }, text));
    }
  }

  // Up to three models side by side, with the same prompt and the same parameters.
  async function draw() {
    waiting = new AbortController();
    by("draw").disabled = true;
    by("stop").hidden = false;
    show();
    const wanted = models();
    const said = body();
    const places = wanted.map(() => make("div", { class: "slot" }));
    by("result").replaceChildren(...places);
    await key().catch(() => null); // one key for all of them
    await Promise.all(wanted.map((model, i) => drawOne({ ...said, model }, places[i], waiting.signal)));
    by("draw").disabled = false;
    by("stop").hidden = true;
  }

  form.addEventListener("submit", (event) => { event.preventDefault(); draw(); });
  form.addEventListener("input", (event) => { if (event.target.id !== "model") estimateSoon(); });
  by("model").addEventListener("change", describe);
  by("stop").addEventListener("click", () => waiting && waiting.abort());
  describe();
})();
