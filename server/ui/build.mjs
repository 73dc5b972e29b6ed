// Builds the panel as one self-contained HTML file, with a content security policy that allows only its own script
// and style. Usage: node build.mjs OUTPUT

import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const MAX_START_DELAY_MS = 100;
const ROOT = new URL(".", import.meta.url);

const toPath = (name) => fileURLToPath(new URL(name, ROOT));
const readSource = (name) => readFile(new URL(`src/${name}`, ROOT), "utf8");

// Zod's error messages in sixty languages would make up a third of the page; the panel shows none of them.
const englishOnly = {
  name: "english-only",
  resolveId: (id) => (/locales\/index/.test(id) ? "\0english-only" : null),
  load: (id) =>
    id === "\0english-only"
      ? `export { default as en } from ${JSON.stringify(toPath("node_modules/zod/v4/locales/en.js"))};`
      : null,
};

async function bundleScript() {
  const bundle = await rolldown({
    input: toPath("src/main.ts"),
    plugins: [englishOnly],
    treeshake: { moduleSideEffects: false },
    // Rolldown reports an unresolved import as a warning, but the page would not work without it.
    onLog: (level, log) => {
      if (level === "warn") throw new Error(log.message);
    },
  });
  const { output } = await bundle.generate({ format: "iife", minify: true, comments: false });
  // An HTML parser ends the script element at the first "</script", even inside a string.
  return output[0].code.replaceAll("</script", "<\\/script").trim();
}

// Run the script after the first paint, because the script takes longer than painting the empty page. The second timer
// covers pages that are never painted, such as background tabs.
function runAfterFirstPaint(code) {
  return (
    `(()=>{let started=false;const start=()=>{if(started)return;started=true;${code}};` +
    `requestAnimationFrame(()=>setTimeout(start));setTimeout(start,${MAX_START_DELAY_MS})})()`
  );
}

function minifyStyle(css) {
  return css.replace(/\/\*.*?\*\//gs, "").replace(/\s*\n\s*/g, "\n").trim();
}

const cspHash = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

const style = minifyStyle(await readSource("style.css"));
const script = runAfterFirstPaint(await bundleScript());
const policy = [
  "default-src 'none'",
  `script-src ${cspHash(script)}`,
  `style-src ${cspHash(style)}`,
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");
// Replacement functions keep "$" in the replacement from being interpreted.
const page = (await readSource("template.html"))
  .replace("%POLICY%", () => policy)
  .replace("%STYLE%", () => style)
  .replace("%SCRIPT%", () => script);
await writeFile(process.argv[2], page);
