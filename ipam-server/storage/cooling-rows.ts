import { parseCidr } from "../domain/model/address.ts";
import type { CoolingAddress, FormerSubnet } from "../domain/networks/cooling.ts";
import { decodeOffset, encodeOffset } from "./offset-code.ts";

/** A row of `cooling`, on every engine. */
export type CoolingRow = [segment: string, cidr: string, offset: bigint, freedAt: number, lastPort: string];

export const encodeCooling = ({ segment, cidr, offset, freedAt, lastPort }: CoolingAddress): CoolingRow => [
  segment,
  cidr.text,
  encodeOffset(cidr.version, offset),
  freedAt,
  lastPort,
];

/** Without the columns of its subnet; the offset is text, because numbers above 2^53 lose precision. */
export type StoredCooling = [offset: string, freedAt: number, lastPort: string];

export const decodeCooling = (subnet: FormerSubnet, [stored, freedAt, lastPort]: StoredCooling): CoolingAddress => ({
  ...subnet,
  offset: decodeOffset(subnet.cidr.version, stored),
  freedAt,
  lastPort,
});

export function decodeFormerSubnet([segment, text]: [segment: string, cidr: string]): FormerSubnet {
  const cidr = parseCidr(text);
  if (!cidr || "meant" in cidr) throw new Error(`the table cooling has cidr ${text}, which is none`);
  return { segment, cidr };
}
