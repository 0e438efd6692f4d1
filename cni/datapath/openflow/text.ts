import { formatActions } from "./actions/text.ts";
import type { Flow, FlowFilter, Instructions } from "./flow.ts";
import type { Bucket, Group } from "./group.ts";
import { FIELDS } from "./match/field.ts";
import { formatMatch } from "./match/text.ts";
import type { Request } from "./message.ts";

const DEFAULT_PRIORITY = 0x8000;
const FLAGS = {
  sendRemoved: "send_flow_rem",
  checkOverlap: "check_overlap",
  resetCounts: "reset_counts",
  noPacketCounts: "no_packet_counts",
  noByteCounts: "no_byte_counts",
} as const;

/** A flow as `ovs-ofctl --no-stats dump-flows` shows it. */
export function formatFlow(flow: Flow): string {
  const { cookie, table, idleTimeoutSeconds: idle, hardTimeoutSeconds: hard, flags = [], priority } = flow;
  const match = formatMatch(flow.match);
  const head = [
    cookie !== 0n && `cookie=0x${cookie.toString(16)}, `,
    table !== 0 && `table=${table}, `,
    idle && `idle_timeout=${idle}, `,
    hard && `hard_timeout=${hard}, `,
    ...flags.map(flag => `${FLAGS[flag]} `),
    priority !== DEFAULT_PRIORITY && `priority=${priority}${match === "" ? "" : ","}`,
    match,
  ].filter(part => typeof part === "string");
  const text = head.join("");
  return `${text}${priority === DEFAULT_PRIORITY && match === "" ? "" : " "}actions=${formatInstructions(flow)}`;
}

/** A group as `ovs-ofctl dump-groups` shows it. */
export function formatGroup({ id, type, selection, buckets }: Group): string {
  const { method, parameter, fields = [] } = selection ?? {};
  const names = fields.map(field => FIELDS[field].name);
  const parts = [
    `group_id=${id}`,
    `type=${type}`,
    method && `selection_method=${method}`,
    parameter && `selection_method_param=${parameter}`,
    names.length === 1 && `fields=${names[0]}`,
    names.length > 1 && `fields(${names.join(",")})`,
    ...buckets.map(formatBucket),
  ];
  return parts.filter(part => typeof part === "string").join(",");
}

/** A request as errors name it. */
export function formatRequest(request: Request): string {
  if (request.kind === "flow") {
    if ("flow" in request) return `${request.command} flow ${formatFlow(request.flow)}`;
    const priority = "priority" in request ? `priority=${request.priority},` : "";
    return `${request.command} flows ${priority}${formatFilter(request.filter)}`;
  }
  if (request.kind === "group")
    return `${request.command} group ${"group" in request ? formatGroup(request.group) : `group_id=${request.id}`}`;
  if (request.kind === "packetOut") return `packet-out actions=${formatActions(request.actions)}`;
  if (request.kind === "statistics") return `statistics of ${request.of}`;
  return request.kind;
}

function formatFilter({ table, cookie, cookieMask, match = {}, outPort, outGroup }: FlowFilter): string {
  const parts = [
    cookie !== undefined && `cookie=0x${cookie.toString(16)}/${cookieMask ? `0x${cookieMask.toString(16)}` : "-1"}`,
    table !== undefined && `table=${table}`,
    outPort !== undefined && `out_port=${outPort}`,
    outGroup !== undefined && `out_group=${outGroup}`,
    formatMatch(match),
  ];
  return parts.filter(part => typeof part === "string" && part !== "").join(",");
}

function formatBucket({ id, weight = 1, actions }: Bucket): string {
  const share = weight === 1 ? "" : `weight:${weight},`;
  return `bucket=bucket_id:${id},${share}actions=${actions.length === 0 ? "drop" : formatActions(actions)}`;
}

function formatInstructions({ apply = [], clear, write = [], goto: table }: Instructions): string {
  const parts = [
    formatActions(apply),
    clear && "clear_actions",
    write.length > 0 && `write_actions(${formatActions(write)})`,
    table !== undefined && `goto_table:${table}`,
  ].filter(part => typeof part === "string" && part !== "");
  return parts.length === 0 ? "drop" : parts.join(",");
}
