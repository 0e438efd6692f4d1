import { FIELDS, type FieldName } from "../match/field.ts";
import type { FieldValue } from "../match/value.ts";

/** Bits of a field: `bits` of them from bit `offset`, counted from the lowest. */
export interface FieldSlice {
  readonly field: FieldName;
  readonly offset: number;
  readonly bits: number;
}

/** All of a field, or some of its bits. */
export function slice(field: FieldName, offset = 0, bits = FIELDS[field].bits - offset): FieldSlice {
  return { field, offset, bits };
}

/** With a mask in the value only those bits are set. */
export type SetAction = {
  [F in FieldName]: { readonly kind: "set"; readonly field: F; readonly value: FieldValue<F> };
}[FieldName];

/** Copies bits; both slices have the same number of them. */
export interface MoveAction {
  readonly kind: "move";
  readonly from: FieldSlice;
  readonly to: FieldSlice;
}

/**
 * `change: "src"` without an address is OVS's all-zero translation: it keeps the address and changes a port that is
 * taken. No `change`: what was decided for the connection's first packet is applied.
 */
export interface Nat {
  readonly change?: "src" | "dst";
  readonly address?: string;
  /** End of a range of addresses. */
  readonly addressTo?: string;
  readonly port?: number;
  readonly portTo?: number;
}

/** ovs-actions(7), `ct`. */
export interface CtAction {
  readonly kind: "ct";
  readonly commit?: true;
  /** Replaces the entry where the packet's direction is not the entry's. */
  readonly force?: true;
  readonly zone: number | FieldSlice;
  /** Where a copy of the packet continues, with `ctState` set. */
  readonly table?: number;
  readonly nat?: Nat;
  readonly exec?: readonly (SetAction | MoveAction)[];
}

/** Of the flow to be learned: a match or a load, from a field of this packet or a constant. */
export type LearnSpec =
  | { readonly kind: "match" | "load"; readonly to: FieldSlice; readonly from: FieldSlice | number }
  | { readonly kind: "output"; readonly from: FieldSlice };

export interface LearnAction {
  readonly kind: "learn";
  readonly table: number;
  readonly priority: number;
  readonly cookie: bigint;
  /** In seconds; 0 is never. OVS has 16 bits for it. */
  readonly idleTimeoutSeconds: number;
  readonly hardTimeoutSeconds: number;
  /** Flows learned by this one are deleted with it. */
  readonly deleteLearned?: true;
  readonly specs: readonly LearnSpec[];
}

export type Action =
  | { readonly kind: "output"; readonly port: number }
  | { readonly kind: "outputField"; readonly from: FieldSlice }
  | { readonly kind: "group"; readonly group: number }
  | { readonly kind: "pushVlan" }
  | { readonly kind: "popVlan" }
  | { readonly kind: "decTtl" }
  | SetAction
  | MoveAction
  /** `ct`: the table sees the connection's original addresses. */
  | { readonly kind: "resubmit"; readonly table: number; readonly ct?: true }
  | CtAction
  | LearnAction
  /** `clause` counts from 1. */
  | { readonly kind: "conjunction"; readonly id: number; readonly clause: number; readonly clauses: number }
  /** Hexadecimal; does nothing. OVS pads it with zeros to 6 bytes and then multiples of 8. */
  | { readonly kind: "note"; readonly data: string };
