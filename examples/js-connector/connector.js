// npm install && npm run build
//
// A connector in JavaScript: opens a ticket for every event, with `fetch` as it is. What is not in here is the point: no
// token, since the host attaches it to the request on its way out; no retry and no log of requests, since those are the
// host's. The URL has to be one that an admin granted: to any other, `fetch` fails.

import { get as settings } from "cofferdam:connector/settings@0.1.0";

/// Where tickets are made, unless the connection's settings say otherwise.
const API = "https://tickets.example/api";

/// First, say what you are. An admin reads this before granting anything.
export const describe = {
  describe() {
    return {
      name: "js-connector",
      version: "0.1.0",
      summary: "Opens a ticket for every event, with fetch.",
      settingsSchema: JSON.stringify({
        type: "object",
        properties: { api: { type: "string", title: "Address of the ticket system" } },
      }),
      upstreams: [
        {
          name: "tickets",
          baseUrl: API,
          reason: "Opens tickets.",
          methods: ["POST"],
          pathPrefixes: ["/tickets"],
          credential: { tag: "bearer" },
        },
      ],
      consumes: [],
      produces: [],
      wantsState: false,
    };
  },
};

/// Then, do one thing. What is thrown is a `failure` of the contract; the host has the last word on what it means.
export const sink = {
  async deliver(event, attempt) {
    const { api = API } = JSON.parse(settings());
    const ticket = { title: `${event.type} from ${event.source}`, text: new TextDecoder().decode(event.data) };
    let response;
    try {
      response = await fetch(`${api}/tickets`, {
        method: "POST",
        headers: { "content-type": "application/json", "x-request-key": attempt.idempotencyKey },
        body: JSON.stringify(ticket),
      });
    } catch (error) {
      throw failure("dependency", "fetch", `no answer: ${error.message}`);
    }
    if (!response.ok) {
      console.error(`the ticket system answered ${response.status}`);
      throw failure("dependency", String(response.status), await response.text());
    }
    const made = await response.json();
    return { externalId: made.id, summary: `ticket ${made.id} opened` };
  },
};

function failure(kind, code, message) {
  return { kind, code, message };
}
