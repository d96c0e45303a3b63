// Verifies messages of webhooks: Standard Webhooks 1.0.0.

import { createHmac, timingSafeEqual } from "node:crypto";
import { UnexpectedAnswer } from "./errors.js";
import { Answer, readJson } from "./form.js";
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

/** How much the clocks may differ. */
export interface ToleranceOptions {
  /** How many seconds the clocks may differ. The default is 300. */
  toleranceSeconds?: number;
}

/** How to verify. */
export interface VerifyOptions extends ToleranceOptions {
  /** The time now, in milliseconds. */
  now?: number;
}

type HeaderSource = Headers | Readonly<Record<string, string | string[] | undefined>>;

/** Verifies the messages of one webhook. Make it when the program starts, since it checks the secret. */
export class WebhookVerifier {
  readonly #keys: readonly Buffer[];
  readonly #toleranceSeconds: number;

  /**
   * @param secret `whsec_…`, or several while a secret is rotated
   * @throws TypeError if a secret or the tolerance cannot be right
   */
  constructor(secret: string | readonly string[], { toleranceSeconds = 300 }: ToleranceOptions = {}) {
    const secrets: readonly string[] = Array.isArray(secret) ? secret : [secret];
    if (secrets.length === 0) throw new TypeError("The webhook has no secret. Give the text whsec_….");
    if (!(toleranceSeconds >= 0)) throw new TypeError("toleranceSeconds must be a number, such as 300.");
    this.#keys = secrets.map(key);
    this.#toleranceSeconds = toleranceSeconds;
  }

  /**
   * Verifies a message, and reads it.
   *
   * @param headers of the request
   * @param body the bytes of the request as they came
   * @param now the time in milliseconds
   * @throws WebhookVerificationError
   */
  verify(headers: HeaderSource, body: string | Uint8Array, now = Date.now()): WebhookMessage {
    const id = header(headers, "webhook-id");
    const timestamp = header(headers, "webhook-timestamp");
    const signatures = header(headers, "webhook-signature");
    checkAge(timestamp, now, this.#toleranceSeconds);
    const bytes = typeof body === "string" ? Buffer.from(body, "utf8") : body;
    const given = signatures
      .split(" ")
      .filter((signature) => signature.startsWith("v1,"))
      .map((signature) => Buffer.from(signature.slice(3), "base64"));
    let isKnown = false;
    for (const key of this.#keys) {
      const expected = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(bytes).digest();
      for (const signature of given) {
        if (signature.length === expected.length && timingSafeEqual(signature, expected)) isKnown = true;
      }
    }
    if (!isKnown) {
      throw new WebhookVerificationError(
        "No signature fits. Verify the body as it came, with the secret of this webhook.",
      );
    }
    return read(Buffer.from(bytes).toString("utf8"));
  }
}

const MESSAGE = new Answer<WebhookMessage>({ type: "a text", data: {} });
const MESSAGE_OF_CHANGES = new Answer<WebhookMessage>({ data: { changes: [{ seq: "a whole number" }] } });

/** Reads a signed message. Types that are not known may have any data. */
function read(text: string): WebhookMessage {
  try {
    const message = MESSAGE.read(readJson(text));
    return message.type === "rollcall.changes" ? MESSAGE_OF_CHANGES.read(message) : message;
  } catch (error) {
    const what = error instanceof UnexpectedAnswer ? error.what : "it cannot be read";
    throw new WebhookVerificationError(`The signature fits, and the message is not of Rollcall: ${what}.`);
  }
}

/**
 * Verifies one message as `WebhookVerifier` does.
 *
 * @throws TypeError if a secret cannot be right
 * @throws WebhookVerificationError
 */
export function verifyWebhook(
  secret: string | readonly string[],
  headers: HeaderSource,
  body: string | Uint8Array,
  options: VerifyOptions = {},
): WebhookMessage {
  return new WebhookVerifier(secret, options).verify(headers, body, options.now);
}

function checkAge(timestamp: string, now: number, toleranceSeconds: number): void {
  if (!/^\d{1,15}$/.test(timestamp)) {
    throw new WebhookVerificationError("webhook-timestamp is not a number of seconds.");
  }
  const age = now / 1000 - Number(timestamp);
  // A comparison with NaN is false, and so it is refused.
  if (!(Math.abs(age) <= toleranceSeconds)) {
    throw new WebhookVerificationError(
      `webhook-timestamp is ${Math.round(age)} seconds old. If the message is new, set the clock of this machine.`,
    );
  }
}

/** The bytes of a secret. Standard Webhooks has 24 to 64 of them. */
function key(secret: string): Buffer {
  const text = typeof secret === "string" ? secret.replace(/^whsec_/, "") : "";
  const bytes = Buffer.from(text, "base64");
  const isBase64 = /^[A-Za-z0-9+/]+={0,2}$/.test(text);
  if (!isBase64 || bytes.length < 24 || bytes.length > 64) {
    throw new TypeError(
      "The secret of a webhook is whsec_ and then 24 to 64 bytes in base64, without spaces and line breaks. Copy it again, or rotate it.",
    );
  }
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
