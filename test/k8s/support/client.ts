import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import type { CommandResult } from "../../../scripts/lab/command.ts";
import { run } from "../../../scripts/lab/command.ts";
import type { Cluster } from "./cluster.ts";
import { ENVIRONMENT } from "./environment.ts";
import { eventually, expect } from "./eventually.ts";
import { idlePod, pod } from "./workloads.ts";

/** A pod to ask other pods from. */
export class Client {
  readonly namespace: string;
  readonly name: string;

  constructor(namespace: string, name: string) {
    this.namespace = namespace;
    this.name = name;
  }

  static async start(cluster: Cluster, namespace: string, nodeName: string, annotations = {}): Promise<Client> {
    const name = `client-${nodeName}${annotations === undefined || Object.keys(annotations).length === 0 ? "" : "-x"}`;
    await cluster.apply(pod(namespace, name, idlePod({ app: "client", nodeName, annotations })));
    await cluster.readyPod(namespace, name);
    return new Client(namespace, name);
  }

  #argv(script: string): string[] {
    const exec = ["-n", this.namespace, "exec", this.name, "--", "/bin/sh", "-c", script];
    return ["kubectl", `--kubeconfig=${ENVIRONMENT.kubeconfig}`, ...exec];
  }

  sh(script: string): Promise<CommandResult> {
    return run(this.#argv(script));
  }

  /** The UID of the pod that answers at this address now; undefined when none does. */
  async ask(address: string): Promise<string | undefined> {
    return (await this.get(address, 8080, "/id")).body?.trim();
  }

  /** By nc: the wget of a busybox without libraries crashes at times. `body` is undefined without an HTTP answer. */
  async get(address: string, port: number, path: string): Promise<{ said: string; body: string | undefined }> {
    const { stdout, stderr } = await this.sh(`${httpGet(address, port, path)} | nc -w 3 ${address} ${port}`);
    const [head = "", ...body] = stdout.split("\r\n\r\n");
    return { said: stdout + stderr, body: head.startsWith("HTTP/") ? body.join("\r\n\r\n") : undefined };
  }

  /** Waits until this very pod answers. */
  answeredBy(uid: string, address: string, deadlineMs = 60_000): Promise<unknown> {
    return eventually(
      `pod ${uid} to answer at ${address}`,
      async () => {
        const answer = await this.ask(address);
        return expect(answer === uid, () => `answered: ${answer}`);
      },
      deadlineMs,
    );
  }

  /** How many answers each of the broadcast ARP requests got: more than one proves a second holder. */
  async countArpAnswers(address: string): Promise<{ sent: number; answers: number }> {
    // -b: every request is a broadcast, so that a holder the switch no longer knows is asked too.
    const { stdout, stderr } = await this.sh(`busybox arping -b -c 3 -w 4 -I eth0 ${address}`);
    const sent = /Sent (\d+) probe/.exec(stdout)?.[1];
    const answers = /Received (\d+) /.exec(stdout)?.[1];
    if (sent === undefined || answers === undefined) throw new Error(`arping says: ${stdout}${stderr}`);
    return { sent: Number(sent), answers: Number(answers) };
  }

  /** Asks again and again; `answers` fills with who answered, or "none". */
  keepAsking(address: string): KeepAsking {
    const ask = `${httpGet(address, 8080, "/id")} | nc -w 3 ${address} 8080 2>/dev/null | busybox tail -n 1`;
    return new KeepAsking(this.#argv(`while :; do got=$(${ask}); echo "\${got:-none}"; sleep 0.1; done`));
  }
}

export class KeepAsking implements AsyncDisposable {
  readonly answers: { at: number; uid: string }[] = [];
  readonly #child: ChildProcessByStdio<null, Readable, null>;
  readonly #closed: Promise<unknown>;

  constructor([file = "", ...args]: string[]) {
    this.#child = spawn(file, args, { stdio: ["ignore", "pipe", "ignore"] });
    this.#closed = once(this.#child, "close");
    createInterface(this.#child.stdout).on("line", uid => this.answers.push({ at: performance.now(), uid }));
  }

  since(at: number): string[] {
    return this.answers.filter(answer => answer.at >= at).map(({ uid }) => uid);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill();
    await this.#closed;
  }
}

const httpGet = (host: string, port: number, path: string) =>
  `printf 'GET ${path} HTTP/1.0\\r\\nHost: ${host}:${port}\\r\\n\\r\\n'`;
