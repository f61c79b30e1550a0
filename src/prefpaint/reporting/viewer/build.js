// Writes ../static/viewer.js: main.js with what it uses of three.js, three.js's licence, and a digest of the sources,
// by which a test finds an asset that is older than they are.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { build } from "esbuild";

const digest = createHash("sha256");
for (const file of ["main.js", "package-lock.json"]) digest.update(readFileSync(file));
const licence = readFileSync("node_modules/three/LICENSE", "utf8").trim();
await build({
  entryPoints: ["main.js"],
  outfile: "../static/viewer.js",
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  charset: "ascii",
  legalComments: "none",
  banner: { js: `/* Made by src/prefpaint/reporting/viewer from sources ${digest.digest("hex")}. It holds three.js:\n\n${licence}\n*/` },
});
