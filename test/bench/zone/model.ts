import type { Port } from "../../../ipam-server/contract/index.ts";
import type { ZonePod } from "./pod.ts";

/** A pod that runs, and the answer that its node got. */
export interface Running {
  pod: ZonePod;
  node: string;
  addresses: string[];
  epoch: number;
}

const addressesOf = ({ fixedIps }: Port): string[] => fixedIps.map(({ address }) => address);

/** The zone's state by the answers that the agents got; checks each new answer against it. */
export class ZoneModel {
  readonly #running = new Map<string, Running>();
  /** Addresses in use on the network now, and the pods that use them. */
  readonly #inUse = new Map<string, string>();
  /** What sticky ports were given first. */
  readonly #kept = new Map<string, string[]>();
  readonly #broken: string[] = [];

  get size(): number {
    return this.#running.size;
  }

  /** An ADD was answered. */
  added(pod: ZonePod, node: string, port: Port): void {
    const addresses = addressesOf(port);
    if (addresses.length === 0) this.#broken.push(`${pod.name} got no address`);
    for (const address of addresses) {
      const other = this.#inUse.get(address);
      if (other !== undefined && other !== pod.name)
        this.#broken.push(`${address} is ${other}'s and was given to ${pod.name}`);
      this.#inUse.set(address, pod.name);
    }
    const kept = this.#kept.get(pod.name);
    if (pod.isSticky && kept === undefined) this.#kept.set(pod.name, addresses);
    if (kept !== undefined && kept.join() !== addresses.join()) {
      this.#broken.push(`${pod.name} had ${kept.join(", ")} and came back with ${addresses.join(", ")}`);
    }
    this.#running.set(pod.name, { pod, node, addresses, epoch: port.epoch });
  }

  /** Its sandbox uses its addresses no longer: after DEL, or after its node lost power. */
  gone({ name }: ZonePod): void {
    for (const address of this.#running.get(name)?.addresses ?? []) {
      if (this.#inUse.get(address) === name) this.#inUse.delete(address);
    }
    this.#running.delete(name);
  }

  /**
   * Everything in which this and what the server holds differ, both ways, and what was broken on the way; nothing: no
   * address was lost and none is anybody else's too.
   *
   * @param ports all that the server holds
   */
  prove(ports: readonly Port[]): string[] {
    const found = [...this.#broken];
    const holders = new Map<string, string>();
    for (const port of ports) {
      for (const address of addressesOf(port)) {
        const other = holders.get(address);
        if (other !== undefined) found.push(`the server holds ${address} for ${other} and ${port.name}`);
        holders.set(address, port.name);
        const user = this.#inUse.get(address);
        if (user !== undefined && user !== port.name)
          found.push(`${address} is held for ${port.name} and used by ${user}`);
      }
      if (!this.#running.has(port.name)) found.push(`the server holds ${port.name}, which does not run`);
    }
    const held = new Map(ports.map(port => [port.name, port]));
    for (const running of this.#running.values()) found.push(...differences(running, held.get(running.pod.name)));
    return found;
  }
}

function differences({ pod, node, addresses, epoch }: Running, port: Port | undefined): string[] {
  if (port === undefined) return [`${pod.name} runs on ${node}, and the server does not hold it`];
  const { binding } = port;
  const facts: [what: string, here: unknown, there: unknown][] = [
    ["node", node, binding?.host],
    ["sandbox", pod.sandboxId, binding?.sandbox?.id],
    ["owner", pod.pod.uid, binding?.ownerUid],
    ["addresses", addresses.join(), addressesOf(port).join()],
    ["epoch", epoch, port.epoch],
  ];
  return facts
    .filter(([, here, there]) => here !== there)
    .map(([what, here, there]) => `${pod.name}: ${what} is ${here} on its node and ${there} in the server`);
}
