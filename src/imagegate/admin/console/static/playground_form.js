// Fields made from what GET /v1/models/{id}?schema=true says of each parameter.
export const FIRST = ["size", "aspect_ratio", "quality", "n", "style", "output_format", "background", "seed"];
const LEFT_OUT = ["prompt", "model", "stream", "partial_images", "image", "mask", "response_format", "user", "routing", "strict"];

export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Whether no provider that sells the model does anything with the parameter.
export function ignored(told) {
  const words = Object.values((told || {}).treatment || {}).flatMap((t) => (typeof t === "string" ? [t] : Object.values(t)));
  return !told || words.every((word) => word === "ignored" || word === "refused");
}

const refused = (told, value) => {
  const ways = Object.values(told.treatment || {});
  return ways.length > 0 && ways.every((t) => typeof t === "object" && t[value] === "refused");
};

// Values that are no words of their own: they stand for any text, or any number.
const ANY = ["text", "any"];

export function field(name, told, chosen, lists) {
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
    const good = [...new Set(ways.flatMap((t) => Object.keys(t)))].filter((value) => !refused(told, value) && !ANY.includes(value));
    if (good.length) {
      input.setAttribute("list", `values-${name}`);
      lists.append(make("datalist", { id: `values-${name}` }, ...good.map((value) => make("option", { value }))));
    }
    if (told.maxLength) input.maxLength = told.maxLength;
  }
  if (chosen !== undefined) input.value = chosen;
  return make("label", { title: told.description || "" }, `${name} `, input);
}

// The names that get a field, the usual ones first. Those without a treatment are the gateway's own.
export function fieldsOf(schema) {
  const order = (name) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);
  const ours = (name) => !schema[name].treatment;
  return Object.keys(schema).filter((name) => !LEFT_OUT.includes(name) && (ours(name) || !ignored(schema[name])))
    .sort((a, b) => order(a) - order(b));
}

// What a field says, in its own type; undefined: nothing.
export function valueOf(input, schema) {
  if (input.value === "") return undefined;
  const kind = (schema[input.name] || {}).type;
  if (kind === "integer" || kind === "number") return Number(input.value);
  return kind === "boolean" ? input.value === "true" : input.value;
}
