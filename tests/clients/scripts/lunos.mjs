import { LunosClient } from "@lunos/client";

const image = (apiKey) => new LunosClient({ apiKey, baseUrl: gateway, appId: "shop", retryDelay: 100 }).image;
const png = `data:image/png;base64,${process.env.PNG}`;

const [made, edited, noKey, noMoney, refused] = await Promise.all([
  image(key).generateImage({ ...small, n: 2, response_format: "b64_json" }),
  image(key).editImage({ ...small, image: png, response_format: "b64_json" }),
  told(image(wrongKey).generateImage(small)),
  told(image(poorKey).generateImage(small)),
  told(image(key).generateImage({ ...small, prompt: "[[refuse]] a heron" })),
]);
say({ made, edited, noKey, noMoney, refused });
