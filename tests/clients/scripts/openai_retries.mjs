import OpenAI from "openai";

// Each case: { prompt, key: of idempotency, or null }. Tells what each caller was given.
const { images } = new OpenAI({ apiKey: key, baseURL: `${gateway}/v1` });

async function draw({ prompt, key }) {
  const options = key === null ? {} : { headers: { "Idempotency-Key": key } };
  const reply = await told(images.generate({ ...small, prompt, n: 2 }, options));
  return { id: reply.metadata?.id ?? null, images: reply.data?.length ?? 0, status: reply.status ?? null };
}

say(await Promise.all(JSON.parse(process.env.CASES).map(draw)));
