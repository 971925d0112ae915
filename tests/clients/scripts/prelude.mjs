// What stands before every script: the gateway's address, three keys, and how results and errors are told.
const { URL: gateway, KEY: key, POOR_KEY: poorKey, OWN_KEY: ownKey } = process.env;
const wrongKey = "igk_live_0000000000000000000000000000000000000000000";

const small = { model: "sandbox", prompt: "a heron", size: "256x256" };

const told = (promise) =>
  promise.catch((error) => {
    const { name, status, statusCode, code, message, type } = error.lastError ?? error;
    return { name, status: status ?? statusCode, code, type, message };
  });

const say = (value) => process.stdout.write(JSON.stringify(value));
