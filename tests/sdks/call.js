// Calls a vendor's SDK as docs/vendors.md says: reads {sdk, url, key, calls} and prints an answer or an error for each.
import dns from "node:dns";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

const OPEN = {
  ses({ url, key, name }) {
    const aws = require("@aws-sdk/client-sesv2");
    const client = new aws.SESv2Client({
      endpoint: url,
      region: "eu-west-1",
      maxAttempts: 1,
      credentials: { accessKeyId: name ?? "shop", secretAccessKey: key },
    });
    return (command, input) => client.send(new aws[`${command}Command`](input));
  },
  sendgrid({ url, key }) {
    const mail = require("@sendgrid/mail");
    mail.setApiKey(key); // which sets the address, too
    mail.client.setDefaultRequest("baseUrl", url);
    return async (method, ...given) => {
      const [answer] = await mail[method](...given);
      return { status: answer.statusCode, id: answer.headers["x-message-id"] };
    };
  },
  // as Ghost opens it
  mailgun({ url, key }) {
    const Mailgun = require("mailgun.js").default ?? require("mailgun.js");
    const client = new Mailgun(require("form-data")).client({ username: "api", key, url, timeout: 60000 });
    return (method, ...given) => ({
      create: (...all) => client.messages.create(...all),
      events: (...all) => client.events.get(...all),
      destroy: (...all) => client.suppressions.destroy(...all),
    })[method](...given);
  },
  postmark({ url, key }) {
    const postmark = require("postmark");
    const { host, protocol } = new URL(url);
    const client = new postmark.ServerClient(key, { requestHost: host, useHttps: protocol === "https:" });
    return (method, ...given) => client[method](...given);
  },
};

let text = "";
for await (const part of process.stdin) text += part;
const given = JSON.parse(text);
const lookup = dns.lookup;
dns.lookup = (host, ...more) => lookup(given.resolve?.[host] ?? host, ...more);
const call = OPEN[given.sdk](given);
const told = [];
for (const each of given.calls) {
  try {
    told.push({ answer: await call(...each) });
  } catch (error) {
    const { name, message, code, status, statusCode, details } = error;
    told.push({ error: { name, message, code, status: status ?? statusCode ?? error.$metadata?.httpStatusCode, details, body: error.response?.body } });
  }
}
console.log(JSON.stringify(told));
