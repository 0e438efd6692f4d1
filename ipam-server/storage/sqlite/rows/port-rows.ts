import type { PortRecord } from "../../../domain/model/port-record.ts";
import {
  PORT_COLUMNS as COMMON_COLUMNS,
  type PortRow as CommonRow,
  encodePort as encodeCommon,
} from "../../port-rows.ts";
import { encodeBindingKey } from "./binding-key.ts";

export { decodeMac, decodePort, encodeMac, parseColumn } from "../../port-rows.ts";

/** Columns of `ports` in the order of PortRow. */
export const PORT_COLUMNS = [...COMMON_COLUMNS, "binding_key"] as const;

/** The same columns qualified, for joins. */
export const QUALIFIED_PORT_COLUMNS = PORT_COLUMNS.map(column => `ports.${column}`).join(", ");

export type PortRow = [...CommonRow, bindingKey: number | null];

export function encodePort(port: PortRecord): PortRow {
  const { binding } = port;
  return [...encodeCommon(port), binding ? encodeBindingKey(binding.host, binding.sandbox?.id) : null];
}
