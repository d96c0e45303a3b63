// A proxy in front of the real server. It loses connections, answers in the server's place, and changes answers.

import {
  createServer,
  type Server as HttpServer,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";

/** What the proxy does with a request before the server gets it. `undefined`: nothing. */
export type Fault =
  | { status: number; headers?: Record<string, string>; body?: string }
  | "lose"
  | "lose answer";

/** A proxy with rules that a test sets. */
export class FaultyProxy {
  readonly requests: string[] = [];
  /** Decides about the n-th request, from 0. */
  fault: (request: string, number: number) => Fault | undefined = () => undefined;
  /** Changes the JSON of an answer. */
  rewrite: (request: string, body: Record<string, unknown>) => Record<string, unknown> = (_, body) => body;

  private constructor(
    readonly target: string,
    readonly server: HttpServer,
  ) {}

  static async start(target: string): Promise<FaultyProxy> {
    const server = createServer();
    const proxy = new FaultyProxy(target, server);
    server.on("request", (request, response) => {
      proxy.#pass(request, response).catch(() => response.destroy());
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  async #pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const name = `${request.method} ${request.url}`;
    const fault = this.fault(name, this.requests.length);
    this.requests.push(name);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (fault === "lose") {
      response.destroy();
      return;
    }
    if (fault !== undefined && fault !== "lose answer") {
      response.writeHead(fault.status, fault.headers).end(fault.body);
      return;
    }
    const { authorization = "", "content-type": type = "" } = request.headers;
    const answer = await fetch(`${this.target}${request.url}`, {
      method: request.method ?? "GET",
      headers: { authorization, ...(type ? { "content-type": type } : {}) },
      ...(chunks.length === 0 ? {} : { body: Buffer.concat(chunks) }),
    });
    let text = await answer.text();
    if (fault === "lose answer") {
      response.destroy();
      return;
    }
    if (answer.ok && text !== "") text = JSON.stringify(this.rewrite(name, JSON.parse(text)));
    response.writeHead(answer.status, { "content-type": answer.headers.get("content-type") ?? "" }).end(text);
  }
}
