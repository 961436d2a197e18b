// Makes js-connector.wasm of connector.js: `npm run build`, or `node build.js OUT WIT`.

import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { componentize } from "@bytecodealliance/componentize-js";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const [out = here("js-connector.wasm"), witPath = here("../../wit")] = process.argv.slice(2);

const { component } = await componentize({
  sourcePath: here("connector.js"),
  witPath,
  worldName: "sink-connector",
  // A connector is called; it does not listen.
  disableFeatures: ["fetch-event"],
});
await writeFile(out, component);
