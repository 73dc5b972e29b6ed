// Bundles the script of the host page. Usage: node build.mjs OUTPUT

import { rolldown } from "rolldown";

const bundle = await rolldown({ input: new URL("host.mjs", import.meta.url).pathname, logLevel: "warn", platform: "browser" });
await bundle.write({ format: "esm", file: process.argv[2], codeSplitting: false });
