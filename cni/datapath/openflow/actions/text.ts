import { FIELDS } from "../match/field.ts";
import { formatNumber, formatValue } from "../match/text.ts";
import { portName } from "../port.ts";
import type { Action, CtAction, FieldSlice, LearnAction, LearnSpec, Nat } from "./action.ts";

const NOTE_BYTES = 6;

/** Actions as `ovs-ofctl dump-flows` shows them. */
export function formatActions(actions: readonly Action[]): string {
  return actions.map(formatAction).join(",");
}

function formatAction(action: Action): string {
  switch (action.kind) {
    case "output":
      return portName(action.port) ?? `output:${action.port}`;
    case "outputField":
      return `output:${formatSlice(action.from)}`;
    case "group":
      return `group:${action.group}`;
    case "pushVlan":
      return "push_vlan:0x8100";
    case "popVlan":
      return "pop_vlan";
    case "decTtl":
      return "dec_ttl";
    case "set":
      return `set_field:${formatValue(action.field, action.value)}->${FIELDS[action.field].name}`;
    case "move":
      return `move:${formatSlice(action.from)}->${formatSlice(action.to)}`;
    case "resubmit":
      return `resubmit(,${action.table}${action.ct ? ",ct" : ""})`;
    case "ct":
      return formatCt(action);
    case "learn":
      return formatLearn(action);
    case "conjunction":
      return `conjunction(${action.id},${action.clause}/${action.clauses})`;
    case "note":
      return `note:${formatNote(action.data)}`;
  }
}

function formatSlice({ field, offset, bits }: FieldSlice): string {
  const { rangeName, bits: all } = FIELDS[field];
  if (offset === 0 && bits === all) return `${rangeName}[]`;
  return `${rangeName}[${bits === 1 ? offset : `${offset}..${offset + bits - 1}`}]`;
}

function formatCt({ commit, force, table, zone, nat, exec }: CtAction): string {
  const parts = [
    commit && "commit",
    force && "force",
    table !== undefined && `table=${table}`,
    zone !== 0 && `zone=${typeof zone === "number" ? zone : formatSlice(zone)}`,
    nat && formatNat(nat),
    exec && exec.length > 0 && `exec(${formatActions(exec)})`,
  ];
  return `ct(${parts.filter(part => typeof part === "string").join(",")})`;
}

function formatNat({ change, address, addressTo, port, portTo }: Nat): string {
  if (change === undefined) return "nat";
  if (address === undefined) return `nat(${change})`;
  const bracketed = (text: string) => (text.includes(":") && port !== undefined ? `[${text}]` : text);
  const addresses = addressTo === undefined ? bracketed(address) : `${bracketed(address)}-${bracketed(addressTo)}`;
  const ports = port === undefined ? "" : portTo === undefined ? `:${port}` : `:${port}-${portTo}`;
  return `nat(${change}=${addresses}${ports})`;
}

function formatLearn(learn: LearnAction): string {
  const { table, idleTimeoutSeconds: idle, hardTimeoutSeconds: hard, priority, deleteLearned, cookie } = learn;
  const parts = [
    `table=${table}`,
    idle !== 0 && `idle_timeout=${idle}`,
    hard !== 0 && `hard_timeout=${hard}`,
    priority !== 0x8000 && `priority=${priority}`,
    deleteLearned && "delete_learned",
    cookie !== 0n && `cookie=0x${cookie.toString(16)}`,
    ...learn.specs.map(formatSpec),
  ];
  return `learn(${parts.filter(part => typeof part === "string").join(",")})`;
}

function formatSpec(spec: LearnSpec): string {
  if (spec.kind === "output") return `output:${formatSlice(spec.from)}`;
  const { kind, from, to } = spec;
  const target = formatSlice(to);
  if (kind === "load") return `load:${typeof from === "number" ? formatNumber(from) : formatSlice(from)}->${target}`;
  if (typeof from !== "number") return formatSlice(from) === target ? target : `${target}=${formatSlice(from)}`;
  const { name, bits } = FIELDS[to.field];
  if (to.offset !== 0 || to.bits !== bits) return `${target}=${formatNumber(from)}`;
  return `${name}=${to.field === "ethType" ? formatNumber(from) : formatValue(to.field, from)}`;
}

function formatNote(data: string): string {
  const bytes = data.match(/../g) ?? [];
  const padded = Math.max(NOTE_BYTES, bytes.length + (-(bytes.length + 10) & 7));
  return [...bytes, ...Array(padded - bytes.length).fill("00")].join(".");
}
