import { PORT_COLUMNS as NAMES, type PortColumn } from "../../port-rows.ts";

export {
  decodeMac,
  decodePort,
  encodeMac,
  encodePort,
  type PortColumn,
  type PortRow,
  parseColumn,
} from "../../port-rows.ts";

/** Columns that are not text. */
const TYPES: Partial<Record<PortColumn, string>> = {
  key: "bigint",
  network_id: "int",
  mac: "bigint",
  sticky: "smallint",
  ttl_seconds: "bigint",
  owner_created_at: "bigint",
  bound_at: "bigint",
  attempted_at: "bigint",
  epoch: "bigint",
  fenced: "smallint",
  created_at: "bigint",
  updated_at: "bigint",
  released_at: "bigint",
  expires_at: "bigint",
  slot: "bigint",
  last_epoch: "bigint",
};

/** Columns of `ports` in the order of PortRow, with their types. */
export const PORT_COLUMNS = NAMES.map(name => [name, TYPES[name] ?? "text"] as const);

/** For SELECT and INSERT. */
export const PORT_COLUMN_LIST = NAMES.join(", ");
