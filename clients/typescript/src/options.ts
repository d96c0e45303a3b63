// The settings of a client. Wrong ones are found when the client is made, since later they look like a broken network.

/** Where Rollcall is, and how to reach it. */
export interface Options {
  /** The URL of the application's side. It ends in `/app/v1`. */
  url: string;
  /** An application key, `rca_…`. */
  key: string;
  /** How often a request is sent at most. The default is 5. */
  attempts?: number;
  /** How long an answer may take, in milliseconds. It has a second more for each 100 KB. The default is 60,000. */
  timeoutMs?: number;
  /** Replaces the global `fetch`. */
  fetch?: typeof fetch;
}

/** The longest time that a timer of Node takes. */
export const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

/**
 * Checks the settings. No message has the key or the URL: they may be exchanged by mistake.
 *
 * @throws TypeError if a setting cannot be right. The message says what to change.
 */
export function checkOptions({ url, key, attempts = 1, timeoutMs = 1 }: Options): void {
  if (!isBaseUrl(url)) {
    throw new TypeError(
      "The URL of Rollcall must begin with http:// or https://, and have no spaces, line breaks, user, query or fragment. It ends in /app/v1, such as http://127.0.0.1:3000/app/v1.",
    );
  }
  if (typeof key !== "string" || key === "") {
    throw new TypeError("The application key is empty. Give the text that begins with rca_.");
  }
  if (!/^[!-~]+$/.test(key)) {
    throw new TypeError(
      "The application key has a space, a line break or a character that is not ASCII. Copy it again, from rca_ to its end. If it is read from a file, remove the line break at its end.",
    );
  }
  if (!(Number.isInteger(attempts) && attempts >= 0)) {
    throw new TypeError("attempts must be a whole number, such as 5.");
  }
  if (!(typeof timeoutMs === "number" && timeoutMs > 0 && timeoutMs <= LONGEST_TIMEOUT_MS)) {
    throw new TypeError(
      `timeoutMs must be a number of milliseconds from 1 to ${LONGEST_TIMEOUT_MS}, such as 60000.`,
    );
  }
}

function isBaseUrl(text: unknown): boolean {
  // The class URL removes line breaks itself, but the client would send them.
  if (typeof text !== "string" || /\s/.test(text)) return false;
  try {
    const { protocol, username, password, search, hash } = new URL(text);
    return /^https?:$/.test(protocol) && `${username}${password}${search}${hash}` === "";
  } catch {
    return false;
  }
}
