// The form is made from the model's own schema; pictures are drawn through the public routes.
import { curl, node, python, routeOf } from "./playground_code.js";
import { FIRST, field, fieldsOf, ignored, make, valueOf } from "./playground_form.js";
import { ask, keyFor } from "./playground_ask.js";

const form = document.getElementById("play");
const by = (id) => document.getElementById(id);
const LEFT = "No longer waiting. What a provider was asked for is still finished: look under Requests.";

// The policy lets no script fetch a data: URL.
function unpacked(src) {
  const [head, text] = src.split(",", 2);
  return new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], { type: head.slice(5).split(";")[0] });
}

function start() {
  const { base, csrf, currency } = form.dataset;
  const unit = Number(form.dataset.unit);
  let chosen = JSON.parse(form.dataset.chosen);
  let inputs = JSON.parse(form.dataset.pictures); // {id, account, env, url, src, name}, or {blob, src, name}
  let schema = {};
  let waiting = null;
  let asked = 0;
  let described = 0;
  let timer = 0;

  const money = (tokens) => `${(tokens / unit).toLocaleString(undefined, { maximumFractionDigits: 4 })} ${currency}`;
  const account = () => by("account").value;
  const env = () => by("env").value;
  const key = () => keyFor(account(), env(), csrf);
  const models = () => [...new Set([by("model").value, by("second").value, by("third").value])].filter((id) => id);

  // With a test key the sandbox stands for every provider, so its answer differs.
  async function describe() {
    const turn = ++described;
    const headers = env() === "test" ? await key().then((plain) => ({ authorization: `Bearer ${plain}` }), () => ({})) : {};
    const answer = await fetch(`/v1/models/${by("model").value}?schema=true`, { headers, credentials: "omit" });
    if (!answer.ok) return;
    const { parameters } = await answer.json();
    if (turn !== described) return;
    const before = fieldsSaid(); // only now: a field may have been filled in while the answer came
    schema = parameters;
    by("lists").replaceChildren();
    const names = fieldsOf(schema);
    const first = names.filter((name) => FIRST.slice(0, 4).includes(name));
    const fields = (some) => some.map((name) => field(name, schema[name], before[name] ?? chosen[name], by("lists")));
    by("fields").replaceChildren(...fields(first));
    by("further").replaceChildren(...fields(names.filter((name) => !first.includes(name))));
    by("previews").hidden = ignored(schema.partial_images);
    if (chosen.partial_images) by("partial_images").value = chosen.partial_images;
    chosen = {};
    showInputs();
    estimateSoon();
  }

  function fieldsSaid() {
    const found = {};
    for (const input of form.querySelectorAll(".fields [name]")) {
      const value = valueOf(input, schema);
      if (value !== undefined) found[input.name] = value;
    }
    return found;
  }

  function body(model) {
    const said = { model, prompt: by("prompt").value, ...fieldsSaid() };
    const previews = by("previews").hidden ? 0 : Number(by("partial_images").value);
    return previews ? { ...said, stream: true, partial_images: previews } : said;
  }

  // A picture that this account made is named; any other goes as a file.
  async function picture(input) {
    if (input.id && input.account === account() && input.env === env()) return { text: input.id };
    input.blob ??= input.src.startsWith("data:") ? unpacked(input.src) : await (await fetch(input.url)).blob();
    return { file: input.name, blob: input.blob };
  }

  async function request(model) {
    const pictures = await Promise.all(inputs.map(picture));
    const [mask] = by("mask").files;
    return { base, said: body(model), pictures, mask: mask && inputs.length ? { file: mask.name, blob: mask } : null };
  }

  function showInputs() {
    by("pictures").hidden = ignored(schema.image) && !inputs.length;
    by("masked").hidden = ignored(schema.mask) || !inputs.length;
    by("mask-name").textContent = by("mask").files.length ? `Mask: ${by("mask").files[0].name}` : "Add a mask";
    by("inputs").replaceChildren(...inputs.map((input) => {
      const away = make("button", { type: "button", class: "plain", "aria-label": `Remove ${input.name}` }, "remove");
      away.addEventListener("click", () => { inputs = inputs.filter((other) => other !== input); showInputs(); estimateSoon(); });
      return make("li", {}, make("img", { src: input.src, alt: input.name, title: input.name }), away);
    }));
  }

  async function addFiles() {
    for (const file of by("files").files) {
      const src = await new Promise((resolve) => {
        const reader = new FileReader();
        reader.addEventListener("load", () => resolve(reader.result));
        reader.readAsDataURL(file);
      });
      inputs.push({ blob: file, src, name: file.name });
    }
    by("files").value = "";
    showInputs();
    estimateSoon();
  }

  async function show() {
    const first = await request(by("model").value);
    by("route").textContent = routeOf(first.pictures);
    by("code").hidden = false;
    by("as-curl").textContent = curl(first);
    by("as-python").textContent = python(first);
    by("as-node").textContent = node(first);
  }

  async function estimate() {
    const turn = ++asked;
    if (!by("prompt").value.trim()) return;
    let text;
    try {
      await show();
      await key();
      const all = await Promise.all(models().map(async (model) => ask(await request(model), { key, dry: true })));
      const tokens = all.reduce((sum, told) => sum + told.hold_tokens, 0);
      const [first] = all;
      const what = all.length > 1 ? `${all.length} models` : `${first.size}${first.quality ? `, ${first.quality}` : ""}, by ${first.provider}`;
      text = `${all.some((told) => told.maximum) ? "At most " : ""}${money(tokens)} (${tokens.toLocaleString()} tokens), ${what}`;
    } catch (error) {
      text = error.message;
    }
    if (turn === asked) by("estimate").textContent = text;
  }

  function estimateSoon() {
    clearTimeout(timer);
    timer = setTimeout(estimate, 600);
  }

  const seen = (image, format) => (image.b64_json ? `data:image/${image.output_format || format};base64,${image.b64_json}` : new URL(image.url).pathname);

  function use(image, src, name, owner) {
    if (inputs.some((input) => input.id === image.image_id)) return;
    inputs.push({ id: image.image_id, ...owner, url: src, src, name });
    showInputs();
    estimateSoon();
    by("prompt").focus();
  }

  function result(place, told, seconds, previews, owner) {
    const { metadata } = told;
    const figures = told.data.map((image) => {
      const src = seen(image, told.output_format);
      const again = make("button", { type: "button" }, "Use as input");
      again.addEventListener("click", () => use(image, src, `${image.image_id}.${told.output_format}`, owner));
      return make("figure", {}, make("img", { src, alt: by("prompt").value }), make("figcaption", { class: "row" }, again,
        make("a", { class: "button", href: `/console/gallery/${metadata.id}` }, "Large")));
    });
    const shown = previews.length ? `, previews after ${previews.map((s) => `${s.toFixed(1)} s`).join(", ")}` : "";
    const line = `${told.size}, ${seconds.toFixed(1)} s${shown}, ${money(metadata.charged_tokens)} (${metadata.charged_tokens.toLocaleString()} tokens), by ${metadata.provider}. `;
    place.replaceChildren(...figures, make("p", { class: "drawn" }, make("strong", {}, metadata.model), " ", line,
      make("a", { href: `/console/requests/${metadata.id}` }, "Look at the request")));
    by("told").textContent = `${metadata.model}: ${line}`;
  }

  async function drawOne(model, place, signal) {
    const began = performance.now();
    const passed = () => (performance.now() - began) / 1000;
    const owner = { account: account(), env: env() };
    const clock = make("p", { class: "empty" });
    const tell = () => { clock.textContent = `${model}: drawing … ${passed().toFixed(1)} s`; };
    const ticking = setInterval(tell, 100);
    const previews = [];
    const shown = new Map(); // by call, since each image is a call of its own
    tell();
    place.replaceChildren(clock);
    const heard = (event) => {
      previews.push(passed());
      const old = shown.get(event.attempt);
      const made = make("img", { class: "preview", src: seen(event, "png"), alt: `Preview ${event.partial_image_index + 1}` });
      shown.set(event.attempt, made);
      if (old) old.replaceWith(made);
      else clock.before(made);
    };
    try {
      result(place, await ask(await request(model), { key, signal, heard }), passed(), previews, owner);
    } catch (error) {
      place.replaceChildren(make("p", { class: "note bad", role: "alert" }, error.name === "AbortError" ? LEFT : `${model}: ${error.message}`));
    } finally {
      clearInterval(ticking);
    }
  }

  // Up to three models side by side, with the same prompt and the same parameters.
  async function draw() {
    if (by("draw").disabled) return;
    waiting = new AbortController();
    by("draw").disabled = true;
    by("stop").hidden = false;
    await show();
    const wanted = models();
    const places = wanted.map(() => make("div", { class: "slot" }));
    by("result").replaceChildren(...places);
    await key().catch(() => null); // one key for all of them
    await Promise.all(wanted.map((model, i) => drawOne(model, places[i], waiting.signal)));
    by("draw").disabled = false;
    by("stop").hidden = true;
  }

  form.addEventListener("submit", (event) => { event.preventDefault(); draw(); });
  form.addEventListener("input", (event) => { if (!["model", "env", "account", "files", "mask"].includes(event.target.id)) estimateSoon(); });
  for (const id of ["model", "env", "account"]) by(id).addEventListener("change", describe);
  by("files").addEventListener("change", addFiles);
  by("mask").addEventListener("change", () => { showInputs(); estimateSoon(); });
  by("stop").addEventListener("click", () => waiting && waiting.abort());
  by("prompt").addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit(); });
  describe();
}

if (form) start();
