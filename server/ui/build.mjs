// Builds the page: everything inlined, and a policy that lets nothing else run or be fetched.
// Usage: node build.mjs PAGE

import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const LONGEST_WAIT_MILLISECONDS = 100;
const here = new URL(".", import.meta.url);

const english = fileURLToPath(new URL("node_modules/zod/v4/locales/en.js", here));

// Sixty languages of error texts that nobody reads are a third of the page.
const oneLanguage = {
  name: "one-language",
  resolveId: (id) => (/locales\/index/.test(id) ? "\0one-language" : null),
  load: (id) => (id === "\0one-language" ? `export { default as en } from ${JSON.stringify(english)};` : null),
};

async function script() {
  const bundle = await rolldown({
    input: fileURLToPath(new URL("src/main.ts", here)),
    plugins: [oneLanguage],
    treeshake: { moduleSideEffects: false },
    // What is not found would be missing in the page.
    onLog: (level, log) => {
      if (level === "warn") throw new Error(log.message);
    },
  });
  const { output } = await bundle.generate({ format: "iife", minify: true, comments: false });
  // The end of a script may not stand in a script.
  const code = output[0].code.replaceAll("</script", "<\\/script").trim();
  // The page is painted before its script is run, which takes longer; where nothing is painted, as
  // in a tab that nobody sees, it is run all the same.
  return `(()=>{let begun=0;const begin=()=>{if(begun++)return;${code}};requestAnimationFrame(()=>setTimeout(begin));setTimeout(begin,${LONGEST_WAIT_MILLISECONDS})})()`;
}

const hashOf = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
const read = (name) => readFile(new URL(name, here), "utf8");

const style = (await read("src/style.css")).replace(/\/\*.*?\*\//gs, "").replace(/\s*\n\s*/g, "\n").trim();
const code = await script();
const policy = `default-src 'none'; script-src ${hashOf(code)}; style-src ${hashOf(style)}; base-uri 'none'; form-action 'none'`;
const page = (await read("src/page.html"))
  .replace("%POLICY%", () => policy)
  .replace("%STYLE%", () => style)
  .replace("%SCRIPT%", () => code);
await writeFile(process.argv[2], page);
