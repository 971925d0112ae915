import { Langbase } from "langbase";

console.error = () => {};
const asked = { model: "openai:gpt-image-1", prompt: "a heron", width: 1024, height: 1024, apiKey: ownKey };
const images = (apiKey) => new Langbase({ apiKey, baseUrl: gateway }).images;

const [made, noKey, noMoney, refused, wrongOwnKey] = await Promise.all([
  images(key).generate(asked),
  told(images(wrongKey).generate(asked)),
  told(images(poorKey).generate({ ...asked, model: "sandbox:sandbox", apiKey: "" })),
  told(images(key).generate({ ...asked, model: "sandbox:sandbox", prompt: "[[refuse]] a heron", apiKey: "" })),
  told(images(key).generate({ ...asked, apiKey: "sk-of-nobody" })),
]);
say({ made, noKey, noMoney, refused, wrongOwnKey });
