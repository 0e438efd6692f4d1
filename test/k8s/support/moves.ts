import assert from "node:assert/strict";
import type { Port } from "../../../ipam-server/contract/index.ts";
import type { Client } from "./client.ts";
import type { Cluster, Pod } from "./cluster.ts";
import { NO_HAND_ON_NODES } from "./environment.ts";
import { eventually, expect } from "./eventually.ts";
import type { Ipam } from "./ipam.ts";
import { replayDel, unplugged } from "./nodes.ts";

/** A pod with its port, bound. */
export interface Placed {
  pod: Pod;
  port: Port & { binding: NonNullable<Port["binding"]> & { sandbox: { id: string } } };
}

export class Moves {
  readonly #cluster: Cluster;
  readonly #ipam: Ipam;
  readonly #clients: Client[];
  readonly #namespace: string;

  constructor(cluster: Cluster, ipam: Ipam, namespace: string, clients: Client[]) {
    this.#cluster = cluster;
    this.#ipam = ipam;
    this.#namespace = namespace;
    this.#clients = clients;
  }

  async place(name: string): Promise<Placed> {
    const pod = await this.#cluster.readyPod(this.#namespace, name);
    return { pod, port: await this.#ipam.boundTo(pod) };
  }

  /** Deletes the pod and waits until it runs on this node. */
  async bring(name: string, node: string): Promise<Placed> {
    const before = await this.place(name);
    if (before.pod.spec.nodeName === node) return before;
    await using _ = await this.#cluster.onlyOn(node);
    await this.#cluster.kubectl(["-n", this.#namespace, "delete", "pod", name, "--wait=false"]);
    return this.after(before);
  }

  /** Waits for the successor, which must have the predecessor's address and MAC, and answer everyone. */
  async after(before: Placed, clients = this.#clients): Promise<Placed> {
    const { name, uid } = before.pod.metadata;
    const pod = await this.#cluster.readyPod(this.#namespace, name, { not: uid, deadlineMs: 240_000 });
    const port = await this.#ipam.boundTo(pod);
    this.#isSame(before, { pod, port });
    assert.ok(port.epoch > before.port.epoch, "a new binding has a new epoch");
    await this.answers({ pod, port }, clients);
    return { pod, port };
  }

  #isSame(before: Placed, now: Placed): void {
    assert.equal(now.pod.status.podIP, before.pod.status.podIP, "the address is kept");
    assert.equal(now.port.mac, before.port.mac, "the MAC is kept");
    assert.equal(now.port.id, before.port.id, "it is the same port");
    assert.equal(now.port.binding.host, now.pod.spec.nodeName);
  }

  async answers({ pod }: Placed, clients = this.#clients): Promise<void> {
    for (const client of clients) await client.answeredBy(pod.metadata.uid, pod.status.podIP ?? "");
  }

  /** Waits until each ARP request for the address gets one answer: no second holder is left. */
  async hasOneHolder({ pod }: Placed, deadlineMs = 60_000): Promise<void> {
    const address = pod.status.podIP ?? "";
    for (const client of this.#clients) {
      await eventually(
        `${address} to have one holder`,
        async () => {
          const { sent, answers } = await client.countArpAnswers(address);
          return expect(sent > 0 && sent === answers, () => `${answers} answers to ${sent} requests`);
        },
        deadlineMs,
      );
    }
  }

  /** The old sandbox is unplugged, and its DEL, sent late from there, changes nothing. */
  async survivesLateDel(before: Placed, now: Placed): Promise<void> {
    if (NO_HAND_ON_NODES) return;
    const { host, sandbox } = before.port.binding;
    await unplugged(host, sandbox.id);
    await replayDel(host, sandbox.id, before.pod.metadata);
    assert.deepEqual((await this.#ipam.portOf(now.pod)).binding, now.port.binding);
    assert.equal((await this.#ipam.portOf(now.pod)).epoch, now.port.epoch);
    await this.answers(now);
  }
}
