// The client has a method of the same name for each operation of docs/app-openapi.json.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Rollcall, UnexpectedAnswer } from "../src/index.js";

interface Operation {
  operationId: string;
  requestBody?: unknown;
}

const FILE = new URL("../../../../docs/app-openapi.json", import.meta.url);
const { paths } = JSON.parse(readFileSync(FILE, "utf8")) as {
  paths: Record<string, Record<string, Operation>>;
};
const OPERATIONS = Object.entries(paths).flatMap(([path, item]) =>
  Object.entries(item)
    .filter(([method]) => ["get", "put", "post", "patch", "delete"].includes(method))
    .map(([method, operation]) => ({ path, method: method.toUpperCase(), ...operation })),
);

test("the document has operations", () => assert.ok(OPERATIONS.length > 30));

for (const { path, method, operationId, requestBody } of OPERATIONS) {
  const name = operationId.replace("app.", "");
  test(`${name} sends ${method} ${path}`, async () => {
    let sent = "";
    const fetch = (url: unknown, options?: { method?: string }) => {
      sent = `${options?.method} ${new URL(String(url)).pathname}`;
      return Promise.resolve(new Response("{}"));
    };
    const settings = { url: "http://127.0.0.1:9", key: "rca_x", attempts: 1 };
    const options = { ...settings, fetch: fetch as typeof globalThis.fetch };
    const methods = new Rollcall(options) as unknown as Record<
      string,
      (...values: unknown[]) => Promise<unknown>
    >;
    const names = path.match(/\{.*?\}/g) ?? [];
    const answer = methods[name]?.(...names.map(() => "x"), ...(requestBody === undefined ? [] : [{}]));
    await assert.rejects(answer as Promise<unknown>, UnexpectedAnswer, "{} is no answer of any operation");
    assert.equal(sent, `${method} ${path.replace(/\{.*?\}/g, "x")}`);
  });
}
