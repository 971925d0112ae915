import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateImage } from "ai";

const makers = {
  openai: (apiKey, baseURL) => createOpenAI({ apiKey, baseURL }).image("sandbox"),
  compatible: (apiKey, baseURL) => createOpenAICompatible({ name: "imagegate", apiKey, baseURL }).imageModel("sandbox"),
};

async function drawn(maker, apiKey, prefix, prompt = small.prompt) {
  const model = makers[maker](apiKey, gateway + prefix);
  const { images } = await generateImage({ model, prompt, size: small.size, n: 2 });
  return images.map((image) => image.base64);
}

const results = {};
await Promise.all(
  Object.keys(makers).map(async (maker) => {
    const [prefixes, noKey, noMoney, refused] = await Promise.all([
      Promise.all(["/v1", "/openai/v1", "/api/v1"].map((prefix) => drawn(maker, key, prefix))),
      told(drawn(maker, wrongKey, "/v1")),
      told(drawn(maker, poorKey, "/v1")),
      told(drawn(maker, key, "/v1", "[[refuse]] a heron")),
    ]);
    results[maker] = { prefixes, noKey, noMoney, refused };
  }),
);
say(results);
