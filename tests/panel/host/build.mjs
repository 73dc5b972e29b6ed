// Bundles the host's script. Usage: node build.mjs SCRIPT

import { rolldown } from "rolldown";

const bundle = await rolldown({ input: new URL("host.mjs", import.meta.url).pathname, logLevel: "warn", platform: "browser" });
await bundle.write({ format: "esm", file: process.argv[2], codeSplitting: false });
