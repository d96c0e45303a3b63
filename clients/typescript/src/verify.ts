// Verifies messages of webhooks: Standard Webhooks 1.0.0.

import { createHmac, timingSafeEqual } from "node:crypto";
import type { Change } from "./types.js";

/** A message that is not from Rollcall, is too old, or was changed. Answer 401. */
export class WebhookVerificationError extends Error {
  override name = "WebhookVerificationError";
}

/** A message of a webhook. Ignore types that you do not know. */
export interface WebhookMessage {
  type: "rollcall.changes" | "rollcall.test" | (string & {});
  timestamp: string;
  data: { changes?: Change[]; next?: string };
}

/** How to verify. */
export interface VerifyOptions {
  /** How many seconds the clocks may differ. The default is 300. */
  toleranceSeconds?: number;
  /** The time now, in milliseconds. */
  now?: number;
}

type HeaderSource = Headers | Readonly<Record<string, string | string[] | undefined>>;

/**
 * Verifies a message, and reads it.
 *
 * @param secret `whsec_…`, or several while a secret is rotated
 * @param headers of the request
 * @param body the bytes of the request as they came
 * @throws WebhookVerificationError
 */
export function verifyWebhook(
  secret: string | readonly string[],
  headers: HeaderSource,
  body: string | Uint8Array,
  options: VerifyOptions = {},
): WebhookMessage {
  const id = header(headers, "webhook-id");
  const timestamp = header(headers, "webhook-timestamp");
  const signatures = header(headers, "webhook-signature");
  if (!/^\d{1,15}$/.test(timestamp)) {
    throw new WebhookVerificationError("webhook-timestamp is not a number of seconds.");
  }
  const age = (options.now ?? Date.now()) / 1000 - Number(timestamp);
  if (Math.abs(age) > (options.toleranceSeconds ?? 300)) {
    throw new WebhookVerificationError(
      `webhook-timestamp is ${Math.round(age)} seconds old. If the message is new, set the clock of this machine.`,
    );
  }
  const bytes = typeof body === "string" ? Buffer.from(body, "utf8") : body;
  const secrets = typeof secret === "string" ? [secret] : secret;
  const given = signatures
    .split(" ")
    .filter((signature) => signature.startsWith("v1,"))
    .map((signature) => Buffer.from(signature.slice(3), "base64"));
  let isKnown = false;
  for (const text of secrets) {
    const hmac = createHmac("sha256", key(text)).update(`${id}.${timestamp}.`).update(bytes);
    const expected = hmac.digest();
    for (const signature of given) {
      if (signature.length === expected.length && timingSafeEqual(signature, expected)) isKnown = true;
    }
  }
  if (!isKnown) {
    throw new WebhookVerificationError(
      "No signature fits. Verify the body as it came, with the secret of this webhook.",
    );
  }
  return JSON.parse(Buffer.from(bytes).toString("utf8")) as WebhookMessage;
}

function key(secret: string): Buffer {
  const bytes = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  if (bytes.length === 0)
    throw new TypeError("The secret of a webhook begins with whsec_ and continues in base64.");
  return bytes;
}

function header(headers: HeaderSource, name: string): string {
  const found = headers instanceof Headers ? headers.get(name) : plainHeader(headers, name);
  if (found === null || found === undefined || found === "") {
    throw new WebhookVerificationError(`The header ${name} is missing.`);
  }
  return found;
}

function plainHeader(
  headers: Readonly<Record<string, string | string[] | undefined>>,
  name: string,
): string | undefined {
  const entry = Object.entries(headers).find(([key]) => key.toLowerCase() === name);
  return Array.isArray(entry?.[1]) ? entry[1][0] : entry?.[1];
}
