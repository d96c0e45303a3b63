// The objects of the routes below /webhooks.

/** A webhook, without its secret. */
export interface Webhook {
  id: string;
  url: string;
  includeResource: boolean;
  status: "enabled" | "disabled";
  created: string;
  [name: string]: unknown;
}

export interface NewWebhook {
  /** `https`, and `http` to loopback addresses under `rollcall dev`. */
  url: string;
  includeResource?: boolean;
}

/** What can be changed. `status: "enabled"` starts a disabled webhook again. */
export interface WebhookChanges {
  url?: string;
  includeResource?: boolean;
  status?: "enabled" | "disabled";
}

export type MadeWebhook = Webhook & { secret: string };

export type RotatedWebhook = Webhook & { secret: string };

/** What the receiver answered to a message without changes. */
export interface WebhookTest {
  [name: string]: unknown;
}
