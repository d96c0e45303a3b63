// The objects of the routes below /webhooks.

/** What came of a test message. */
export interface WebhookTest {
  /** Its id. The id of its message ends with it. */
  id: string;
  state: "pending" | "taken" | "failed";
  requested: string;
  finished: string | null;
  /** The status that the receiver answered. */
  status: number | null;
  error: string | null;
}

/** A webhook, without its secret. */
export interface Webhook {
  id: string;
  version: number;
  url: string;
  includeResource: boolean;
  enabled: boolean;
  disabledReason: string | null;
  created: string;
  /** The number of the last change that it has taken. */
  seq: number | null;
  lastSuccess: string | null;
  lastError: string | null;
  failedAttempts: number;
  nextAttempt: string | null;
  /** The test that was asked for last. */
  test: WebhookTest | null;
}

export interface WebhookPage {
  webhooks: Webhook[];
  next?: string;
}

export interface NewWebhook {
  /** `https`, and also `http` to loopback addresses under `rollcall dev`. */
  url: string;
  /** Whether changes of users and groups carry their state. */
  includeResource?: boolean;
}

export interface WebhookSettings {
  url?: string;
  includeResource?: boolean;
  /** `true` enables a disabled webhook, and makes the next attempt at once. */
  enabled?: boolean;
}

export interface MadeWebhook extends Webhook {
  /** Signs messages. Only this answer shows it. */
  secret: string;
}

export interface RotatedWebhook extends MadeWebhook {
  /** Until when the old secret signs too. */
  oldSecretUntil: string | null;
}
