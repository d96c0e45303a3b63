// Runs the test files side by side: they wait for their servers most of the time.

import { readdirSync } from "node:fs";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";

const FILES_AT_ONCE = 3;

const folder = fileURLToPath(new URL(".", import.meta.url));
const files = readdirSync(folder).filter((name) => name.endsWith(".test.js"));
const events = run({ files: files.map((name) => `${folder}${name}`), concurrency: FILES_AT_ONCE });
let passed = 0;
let failed = 0;
events.on("test:pass", (test) => {
  passed += test.skip === undefined && test.details.type !== "suite" ? 1 : 0;
});
events.on("test:fail", () => {
  failed += 1;
  process.exitCode = 1;
});
process.on("exit", () => {
  console.log(`client-typescript: ${passed} passed, ${failed} failed`);
});
(events as NodeJS.ReadableStream).pipe(new spec()).pipe(process.stdout);
