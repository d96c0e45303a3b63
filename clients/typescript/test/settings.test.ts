// Wrong settings are found when an object is made, and the error says what to change.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Rollcall, verifyWebhook, WebhookVerifier } from "../src/index.js";

const URL_RIGHT = "http://127.0.0.1:3000/app/v1";

test("a URL that cannot be right is refused", () => {
  const wrong = [
    "",
    "127.0.0.1:3000/app/v1",
    "localhost:3000/app/v1",
    "rollcall.example.com/app/v1",
    "ftp://rollcall.example.com/app/v1",
    "https://",
    `${URL_RIGHT}\n`,
    ` ${URL_RIGHT}`,
    "https://user:secret@rollcall.example.com/app/v1",
    `${URL_RIGHT}?tenant=acme`,
    `${URL_RIGHT}#top`,
    undefined as unknown as string,
  ];
  for (const url of wrong) {
    assert.throws(
      () => new Rollcall({ url, key: "rca_x" }),
      /^TypeError: The URL of Rollcall must begin/,
      url,
    );
  }
  for (const url of [URL_RIGHT, `${URL_RIGHT}/`, "https://rollcall.example.com/app/v1"]) {
    assert.ok(new Rollcall({ url, key: "rca_x" }));
  }
});

test("a key that cannot be right is refused, and not shown", () => {
  for (const key of [
    "rca_secret\n",
    " rca_secret",
    "rca_secrét",
    "rca_sec ret",
    "“rca_secret”",
    "rca_secret\0",
  ]) {
    assert.throws(
      () => new Rollcall({ url: URL_RIGHT, key }),
      (error: Error) => {
        assert.match(String(error), /^TypeError: The application key has .* Copy it again/);
        assert.doesNotMatch(error.message, /sec/);
        return true;
      },
    );
  }
  for (const key of ["", undefined as unknown as string]) {
    assert.throws(() => new Rollcall({ url: URL_RIGHT, key }), /The application key is empty/);
  }
});

test("numbers that are none are refused", () => {
  const make = (options: object) => () => new Rollcall({ url: URL_RIGHT, key: "rca_x", ...options });
  for (const attempts of [Number.NaN, Number.POSITIVE_INFINITY, -1, 1.5, "5", null]) {
    assert.throws(make({ attempts }), /attempts must be a whole number/);
  }
  for (const timeoutMs of [Number.NaN, 0, -1, 2 ** 31, Number.POSITIVE_INFINITY, "5", null]) {
    assert.throws(make({ timeoutMs }), /timeoutMs must be a number/);
  }
  assert.ok(make({ attempts: 0, timeoutMs: 1000 })());
});

test("a webhook secret that cannot be right is refused before the first message", () => {
  const right = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
  const wrong = [
    "",
    "whsec_",
    "whsec_…",
    `${right}\n`,
    right.slice(0, 30),
    `whsec_${"A".repeat(100)}`,
    "whsec_a b",
  ];
  for (const secret of [...wrong, undefined as unknown as string]) {
    assert.throws(() => new WebhookVerifier(secret), /^TypeError: The secret of a webhook is whsec_/, secret);
    assert.throws(() => new WebhookVerifier([right, secret]), TypeError, secret);
    // A request without headers would be refused with another error.
    assert.throws(() => verifyWebhook(secret, {}, ""), TypeError, secret);
  }
  assert.throws(() => new WebhookVerifier([]), TypeError);
  assert.ok(new WebhookVerifier([right, right.slice("whsec_".length)]));
});

test("the command says what is wrong in its environment", () => {
  const command = fileURLToPath(new URL("../src/command.js", import.meta.url));
  const run = (url: string, key: string) =>
    spawnSync(process.execPath, [command, "--sqlite", ":memory:", "--once"], {
      env: { ...process.env, ROLLCALL_APP_URL: url, ROLLCALL_APPLICATION_KEY: key },
      encoding: "utf8",
    });
  for (const [url, key, expected] of [
    ["127.0.0.1:3000/app/v1", "rca_x", "The URL of Rollcall must begin"],
    [URL_RIGHT, "rca_x\n", "The application key has a space, a line break"],
  ] as const) {
    const { status, stderr } = run(url, key);
    assert.equal(status, 2);
    assert.ok(stderr.startsWith(`rollcall-mirror: ${expected}`), stderr);
  }
});
