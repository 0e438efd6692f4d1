import { EPOCH_SKIP, EVENT_SKIP, KEY_SKIP, TERM_SKIP } from "../../../domain/transfer/restore-offsets.ts";

/**
 * Raises every counter above what the part of the history that is missing here may have assigned. Event streams begin
 * again with a full comparison, and replicas drop the keys they reserved. Runs under the lock that changes of networks use.
 */
export const RAISE_COUNTERS = [
  // Others may have had the addresses since, so that no release is on record.
  "UPDATE freed SET released = 0 WHERE released = 1",
  "UPDATE ports SET fenced = 0 WHERE fenced = 1",
  `UPDATE catalog_state SET epoch_floor = greatest(epoch_floor, (SELECT max(epoch) FROM ports)) + ${EPOCH_SKIP},
     generation = generation + 1, revision = revision + 1`,
  `UPDATE event_counter SET last_seq = last_seq + ${EVENT_SKIP}, floor = last_seq + ${EVENT_SKIP}`,
  `UPDATE port_keys SET next_port_key = next_port_key + ${KEY_SKIP}`,
  `UPDATE leadership SET term = term + ${TERM_SKIP}, holder = NULL, until = '-infinity'`,
];
