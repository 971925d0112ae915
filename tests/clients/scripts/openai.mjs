import OpenAI, { toFile } from "openai";

const images = (apiKey, prefix = "/v1") => new OpenAI({ apiKey, baseURL: gateway + prefix }).images;
const b64 = (reply) => reply.data.map((image) => image.b64_json);
const png = Buffer.from(process.env.PNG, "base64");
const mask = await toFile(Buffer.from(process.env.MASK, "base64"), "mask.png");
const file = (name) => toFile(png, name, { type: "image/png" });

async function streamed() {
  const events = [];
  for await (const event of await images(key).generate({ ...small, stream: true })) events.push(event);
  return events;
}

const [prefixes, edited, several, masked, varied, events, noKey, noMoney, refused] = await Promise.all([
  Promise.all(["/v1", "/openai/v1", "/api/v1", ""].map((prefix) => told(images(key, prefix).generate(small).then(b64)))),
  images(key).edit({ ...small, image: await file("boat.png") }).then(b64),
  images(key).edit({ ...small, image: [await file("a.png"), await file("b.png")], n: 2 }).then(b64),
  images(key).edit({ ...small, image: await file("boat.png"), mask }).then(b64),
  images(key).createVariation({ model: "sandbox", size: "256x256", image: await file("boat.png") }).then(b64),
  streamed(),
  told(images(wrongKey).generate(small)),
  told(images(poorKey).generate(small)),
  told(images(key).generate({ ...small, prompt: "[[refuse]] a heron" })),
]);
say({ prefixes, edited, several, masked, varied, events, noKey, noMoney, refused });
