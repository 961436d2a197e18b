// Makes js-connector.wasm of connector.js: `npm run build`, or `node build.js OUT`.

import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const { componentize } = await import("@bytecodealliance/componentize-js");
const { component } = await componentize({
  sourcePath: here("connector.js"),
  witPath: here("../../wit"),
  worldName: "sink-connector",
  // A connector is called; it does not listen.
  disableFeatures: ["fetch-event"],
});
await writeFile(process.argv[2] ?? here("js-connector.wasm"), component);
