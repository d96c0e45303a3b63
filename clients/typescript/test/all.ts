// Runs the test files side by side: they wait for their servers most of the time.

import { readdirSync } from "node:fs";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";

const FILES_AT_ONCE = 3;

const folder = fileURLToPath(new URL(".", import.meta.url));
const files = readdirSync(folder).filter((name) => name.endsWith(".test.js"));
const events = run({ files: files.map((name) => `${folder}${name}`), concurrency: FILES_AT_ONCE });
events.on("test:fail", () => {
  process.exitCode = 1;
});
(events as NodeJS.ReadableStream).pipe(new spec()).pipe(process.stdout);
