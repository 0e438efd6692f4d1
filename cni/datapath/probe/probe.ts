import { setTimeout as delay } from "node:timers/promises";
import type { DatapathContext } from "../datapath-context.ts";
import { DatapathError } from "../datapath-error.ts";
import { Deadline } from "../deadline.ts";
import { parseIp } from "../kernel/ip-bytes.ts";
import { loadLibc } from "../kernel/libc.ts";
import { PacketSocket } from "./packet-socket.ts";
import { buildProbe, ETHERTYPE_ARP, ETHERTYPE_IPV6, isSameAddress, parseAnswer, parseMac } from "./packets.ts";
import { ensureProbePort, type ProbeNetwork } from "./probe-port.ts";

/** RFC 5227 waits seconds, for links that take long to come up. This link is up, and a data centre answers within one. */
const PROBES = 3;
const PROBE_INTERVAL_MS = 60;
/** After the last probe. */
const ANSWER_MS = 80;
const POLL_MS = 5;

export interface Probe extends ProbeNetwork {
  addresses: readonly string[];
  /** The port's own: where it was bound before it may answer until that node has disconnected it. */
  mac: string;
}

/** Another machine uses an address. */
export interface ProbeConflict {
  address: string;
  mac: string;
}

/**
 * Asks whether another machine on the network uses one of the addresses: three probes each, 200 ms in all. Resolves with
 * the first that answers, at once. Rejects with DatapathError if it cannot ask, or if the port itself still answers the
 * last probe of an IPv6 address where it was bound before.
 */
export async function probe(context: DatapathContext, wanted: Probe): Promise<ProbeConflict | undefined> {
  const deadline = new Deadline(context.timeoutMs);
  const addresses = wanted.addresses.map(text => ({ text, bytes: readAddress(text) }));
  const [libc, link] = await Promise.all([loadLibc(), ensureProbePort(context, wanted, deadline)]);
  using held = new DisposableStack();
  const ownMac = wanted.mac.toLowerCase();
  const targets = [4, 16].flatMap(length => {
    const family = addresses.filter(({ bytes }) => bytes.length === length);
    if (family.length === 0) return [];
    const ethertype = length === 4 ? ETHERTYPE_ARP : ETHERTYPE_IPV6;
    return [{ family, socket: held.use(new PacketSocket(libc, link.index, ethertype)) }];
  });
  const mac = parseMac(link.mac);
  for (let sent = 1; sent <= PROBES; sent++) {
    for (const { family, socket } of targets) for (const { bytes } of family) socket.send(buildProbe(mac, bytes));
    const until = performance.now() + (sent < PROBES ? PROBE_INTERVAL_MS : ANSWER_MS);
    do {
      await delay(POLL_MS);
      for (const { family, socket } of targets) {
        for (const frame of socket.receive()) {
          const answer = parseAnswer(frame);
          if (answer === undefined || answer.mac === link.mac) continue;
          const found = family.find(({ bytes }) => isSameAddress(bytes, answer.address));
          if (found && answer.mac !== ownMac) return { address: found.text, mac: answer.mac };
          // The port's own MAC is no conflict of IPv4 (RFC 5227 section 2.1.1), but one of IPv6 (RFC 4862 section 5.4.4).
          if (found?.bytes.length === 16 && sent === PROBES) throw stillAnswers(found.text, ownMac);
        }
      }
    } while (performance.now() < until);
  }
  return undefined;
}

function stillAnswers(address: string, mac: string): DatapathError {
  const message = `the port itself (MAC ${mac}) still answers for ${address} where it was bound before; end that pod, or wait until its node has disconnected it`;
  return new DatapathError("probe", message);
}

function readAddress(text: string): Buffer {
  const bytes = parseIp(text);
  if (bytes === undefined) throw new DatapathError("probe", `${JSON.stringify(text)} is not an IP address`);
  return bytes;
}
