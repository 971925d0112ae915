// The same request as curl, Python and Node say it: every field, every picture, and a stream where it is one.
// asked: {base, said, pictures, mask}; a picture is {text: "gen_…_0"}, made here before, or {file: "harbour.png"}.
const INDENT = "    ";
const GENERATE = ["model", "prompt", "n", "size", "quality", "style", "output_format", "output_compression", "background", "moderation", "stream", "partial_images"];
const EDIT = GENERATE.filter((name) => name !== "style" && name !== "moderation");

const quoted = (text) => `'${String(text).replaceAll("'", "'\\''")}'`;
const literal = (value) => (value === true ? "True" : value === false ? "False" : JSON.stringify(value));

export const routeOf = (pictures) => (pictures.length ? "/v1/images/edits" : "/v1/images/generations");

export function curl({ base, said, pictures, mask }) {
  const head = `curl ${said.stream ? "-N " : ""}${base}${routeOf(pictures)} \\\n  -H "Authorization: Bearer $IMAGEGATE_KEY"`;
  if (!pictures.length) return `${head} -H "Content-Type: application/json" \\\n  -d ${quoted(JSON.stringify(said))}`;
  const part = (name, one) => (one.text ? `--form-string ${quoted(`${name}=${one.text}`)}` : `-F ${quoted(`${name}=@${one.file}`)}`);
  const parts = [
    ...Object.entries(said).map(([name, value]) => `--form-string ${quoted(`${name}=${value}`)}`),
    ...pictures.map((one) => part("image[]", one)),
    ...(mask ? [part("mask", mask)] : []),
  ];
  return [head, ...parts].join(" \\\n  ");
}

export function python({ base, said, pictures, mask }) {
  const picture = (one) => (one.text ? `b${JSON.stringify(one.text)}` : `Path(${JSON.stringify(one.file)})`);
  const known = pictures.length ? EDIT : GENERATE;
  const lines = Object.entries(said).filter(([name]) => known.includes(name)).map(([name, value]) => `${name}=${literal(value)},`);
  if (pictures.length) lines.push(`image=[${pictures.map(picture).join(", ")}],`);
  if (mask) lines.push(`mask=${picture(mask)},`);
  const extra = Object.entries(said).filter(([name]) => !known.includes(name));
  if (extra.length) lines.push(`extra_body={${extra.map(([name, value]) => `${JSON.stringify(name)}: ${literal(value)}`).join(", ")}},`);
  const call = `client.images.${pictures.length ? "edit" : "generate"}(\n${lines.map((line) => INDENT + line).join("\n")}\n)`;
  const end = said.stream
    ? `for number, event in enumerate(${call}):\n${INDENT}name = f"{number}-{event.type}.{event.output_format}"\n${INDENT}Path(name).write_bytes(base64.b64decode(event.b64_json))`
    : `reply = ${call}\nfor number, image in enumerate(reply.data):\n${INDENT}name = f"{number}.{reply.output_format}"\n${INDENT}Path(name).write_bytes(base64.b64decode(image.b64_json))`;
  return `import base64\nimport os\nfrom pathlib import Path\n\nfrom openai import OpenAI\n\nclient = OpenAI(base_url="${base}/v1", api_key=os.environ["IMAGEGATE_KEY"], timeout=300)\n${end}`;
}

export function node({ base, said, pictures, mask }) {
  const picture = (one) => (one.text
    ? `await toFile(Buffer.from(${JSON.stringify(one.text)}), "image_id")`
    : `await toFile(readFileSync(${JSON.stringify(one.file)}), ${JSON.stringify(one.file)})`);
  const lines = Object.entries(said).map(([name, value]) => `${name}: ${JSON.stringify(value)},`);
  if (pictures.length) lines.push(`image: [${pictures.map(picture).join(", ")}],`);
  if (mask) lines.push(`mask: ${picture(mask)},`);
  const call = `await client.images.${pictures.length ? "edit" : "generate"}({\n${lines.map((line) => `  ${line}`).join("\n")}\n})`;
  const end = said.stream
    ? `const events = ${call};\nlet number = 0;\nfor await (const event of events) {\n  writeFileSync(\`\${number++}-\${event.type}.\${event.output_format}\`, Buffer.from(event.b64_json, "base64"));\n}`
    : `const reply = ${call};\nreply.data.forEach((image, number) => {\n  writeFileSync(\`\${number}.\${reply.output_format}\`, Buffer.from(image.b64_json, "base64"));\n});`;
  const read = [...pictures, mask].some((one) => one && one.file) ? "readFileSync, " : "";
  return `import { ${read}writeFileSync } from "node:fs";\nimport OpenAI${pictures.length ? ", { toFile }" : ""} from "openai";\n\nconst client = new OpenAI({ baseURL: "${base}/v1", apiKey: process.env.IMAGEGATE_KEY });\n${end}`;
}
