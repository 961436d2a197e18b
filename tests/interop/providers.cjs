// The other side of `tests/it/providers.rs`: signs requests and verifies ours with the webhook providers' own libraries.
//
//   node providers.cjs FOLDER <QUESTION.json
//
// FOLDER holds node_modules. A question is {"sign": {"secrets": …, "url": …}} or {"verify": [{…}]}; the answer is JSON.
"use strict";

const crypto = require("node:crypto");
const { createRequire } = require("node:module");
const path = require("node:path");
const { pathToFileURL } = require("node:url");

const need = createRequire(path.join(path.resolve(process.argv[2]), "package.json"));

const stripe = need("stripe");
const twilio = need("twilio");
const { Webhook } = need("standardwebhooks");
const slack = need("./node_modules/@slack/bolt/dist/receivers/verify-request.js");
// An ECMAScript module alone, which nothing but its own path imports from elsewhere.
const octokit = import(
  pathToFileURL(path.resolve(process.argv[2], "node_modules/@octokit/webhooks-methods/dist-node/index.js"))
);

const JSON_TYPE = { "content-type": "application/json" };
const FORM_TYPE = { "content-type": "application/x-www-form-urlencoded" };

/** One request to each hook, signed now. `url` is where the hooks are, as the provider knows them. */
async function sign({ secrets, url }) {
  const now = Math.floor(Date.now() / 1000);
  const text = 'Pumpe "zwei" läuft – 水\n';
  return [
    ...stripeEvents(secrets.stripe, now, text),
    ...standardWebhooks(secrets, text),
    await github(secrets.github, text),
    ...slackRequests(secrets.slack, now, text),
    ...twilioRequests(secrets.twilio, url, text),
    shopify(secrets.shopify, text),
  ];
}

function stripeEvents(secret, now, text) {
  const client = new stripe("sk_test_unused");
  const event = (id) => JSON.stringify({ id, object: "event", data: { text } });
  const signed = (payload, with_) =>
    client.webhooks.generateTestHeaderString({ payload, secret: with_, timestamp: now });
  const one = event("evt_one");
  const rolled = event("evt_rolled");
  // While a secret is rolled, one signature per secret.
  const both = `${signed(rolled, "whsec_the_other_one")},${signed(rolled, secret).split(",")[1]}`;
  return [
    { hook: "stripe", id: "evt_one", headers: { ...JSON_TYPE, "stripe-signature": signed(one, secret) }, body: one },
    { hook: "stripe", id: "evt_rolled", headers: { ...JSON_TYPE, "stripe-signature": both }, body: rolled },
  ];
}

function standardWebhooks(secrets, text) {
  const body = JSON.stringify({ type: "pump.stopped", data: { text } });
  const date = new Date();
  const timestamp = String(Math.floor(date.getTime() / 1000));
  const headers = (id, signature) => ({
    ...JSON_TYPE,
    "webhook-id": id,
    "webhook-timestamp": timestamp,
    "webhook-signature": signature,
  });
  const old = new Webhook("whsec_" + Buffer.alloc(24, 9).toString("base64"));
  const hmac = new Webhook(secrets.standard);
  const rotated = `${old.sign("msg_2", date, body)} ${hmac.sign("msg_2", date, body)}`;
  // The library knows no ed25519; Node does, and the specification says how.
  const pkcs8 = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), Buffer.from(secrets.ed25519, "hex")]);
  const key = crypto.createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" });
  const ed25519 = crypto.sign(null, Buffer.from(`msg_3.${timestamp}.${body}`), key).toString("base64");
  return [
    { hook: "standard", id: "msg_1", headers: headers("msg_1", hmac.sign("msg_1", date, body)), body },
    { hook: "standard", id: "msg_2", headers: headers("msg_2", rotated), body },
    { hook: "ed25519", id: "msg_3", headers: headers("msg_3", `v1a,${ed25519}`), body },
  ];
}

async function github(secret, text) {
  const body = JSON.stringify({ action: "opened", text });
  const signature = await (await octokit).sign(secret, body);
  const headers = { ...JSON_TYPE, "x-github-delivery": "d-1", "x-hub-signature-256": signature };
  return { hook: "github", id: "d-1", headers, body };
}

/** Slack's library only verifies: what is signed here by its page counts once that has agreed. */
function slackRequests(signingSecret, now, text) {
  const signed = (type, id, body) => {
    const hmac = crypto.createHmac("sha256", signingSecret).update(`v0:${now}:${body}`).digest("hex");
    const headers = { ...type, "x-slack-request-timestamp": String(now), "x-slack-signature": `v0=${hmac}` };
    slack.verifySlackRequest({
      signingSecret,
      body,
      headers: { "x-slack-signature": headers["x-slack-signature"], "x-slack-request-timestamp": now },
    });
    return { hook: "slack", id, headers, body };
  };
  const event = JSON.stringify({ type: "event_callback", event_id: "Ev1", event: { text } });
  const handshake = JSON.stringify({ token: "t", challenge: "3eZbrw1aBm2rZgRNFdxV2595E9CY", type: "url_verification" });
  return [
    signed(JSON_TYPE, "Ev1", event),
    signed(FORM_TYPE, null, new URLSearchParams({ command: "/pump", text }).toString()),
    { ...signed(JSON_TYPE, null, handshake), challenge: "3eZbrw1aBm2rZgRNFdxV2595E9CY" },
  ];
}

function twilioRequests(token, base, text) {
  const url = `${base}/hooks/twilio`;
  const request = (id, rest, type, body, params) => ({
    hook: "twilio",
    id,
    rest,
    headers: {
      ...type,
      "i-twilio-idempotency-token": id,
      "x-twilio-signature": twilio.getExpectedTwilioSignature(token, url + rest, params),
    },
    body,
  });
  const params = { From: "+14158675309", To: "+18005551212", Body: text, Empty: "", "MediaUrl[]": "a&b=c" };
  const form = new URLSearchParams(params).toString();
  const several = "Address=%2B1415&Address=%2B1325&Address=%2B1415";
  const json = JSON.stringify({ text });
  const hashed = `?from=x&bodySHA256=${twilio.getExpectedBodyHash(json)}`;
  const port = twilio.getExpectedTwilioSignature(token, url.replace(/^(https:\/\/[^/]*)/, "$1:443"), params);
  const withPort = request("T-4", "", FORM_TYPE, form, params);
  withPort.headers["x-twilio-signature"] = port;
  return [
    request("T-1", "?from=here+now&x=%7e", FORM_TYPE, form, params),
    request("T-2", "/voice", FORM_TYPE, several, { Address: ["+1325", "+1415", "+1415"] }),
    request("T-3", hashed, JSON_TYPE, json, {}),
    withPort,
  ];
}

/** Shopify's library brings a whole framework; the signature is one line of its page. */
function shopify(secret, text) {
  const body = JSON.stringify({ id: 1, text });
  const hmac = crypto.createHmac("sha256", secret).update(body).digest("base64");
  const headers = { ...JSON_TYPE, "x-shopify-hmac-sha256": hmac, "x-shopify-webhook-id": "W-1" };
  return { hook: "shopify", id: "W-1", headers, body };
}

/** Whether each of our own requests is one that the library takes. */
async function verify(requests) {
  const verdicts = [];
  for (const { by, secret, headers, body } of requests) {
    try {
      if (by === "standardwebhooks") {
        new Webhook(secret).verify(body, headers);
        verdicts.push(true);
      } else {
        verdicts.push(await (await octokit).verify(secret, body, headers["x-hub-signature-256"]));
      }
    } catch (error) {
      verdicts.push(String(error));
    }
  }
  return verdicts;
}

async function main() {
  let text = "";
  for await (const part of process.stdin) text += part;
  const question = JSON.parse(text);
  const answer = question.sign ? await sign(question.sign) : await verify(question.verify);
  process.stdout.write(JSON.stringify(answer));
}

main();
