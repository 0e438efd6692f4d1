import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  classifyHistory,
  type HistoryDecision,
  type RecordedHistory,
  type ServedBy,
} from "../../../ipam-server/storage/postgres/history/database-history.ts";

const served = (timeline: number, tableOid = 7, systemId = "s1"): ServedBy => ({ systemId, tableOid, timeline });
const recorded = (timeline: number, history: string): RecordedHistory => ({ ...served(timeline), history });

const CASES: [string, HistoryDecision, ServedBy, RecordedHistory | undefined, RecordedHistory | undefined][] = [
  ["records the first use", "record", served(1), undefined, undefined],
  ["accepts the recorded server at the start", "same", served(1), recorded(1, "a"), undefined],
  ["accepts the recorded server again", "same", served(1), recorded(1, "a"), recorded(1, "a")],
  ["detects a promotion at the start", "promoted", served(2), recorded(1, "a"), undefined],
  ["detects a promotion while it runs", "promoted", served(2), recorded(1, "a"), recorded(1, "a")],
  ["accepts a promotion that another replica recorded", "same", served(2), recorded(2, "b"), recorded(1, "a")],
  ["detects a promotion after one it missed", "promoted", served(3), recorded(2, "b"), recorded(1, "a")],
  ["refuses a former primary", "diverged", served(1), recorded(1, "a"), recorded(2, "b")],
  ["refuses a second promoted standby", "diverged", served(2), recorded(1, "a"), recorded(2, "b")],
  ["refuses another history of one timeline", "diverged", served(2), recorded(2, "c"), recorded(2, "b")],
  ["refuses tables of another system", "copied", served(1, 7, "s2"), recorded(1, "a"), undefined],
  ["refuses tables that were made again", "copied", served(1, 8), recorded(1, "a"), recorded(1, "a")],
  ["refuses a timeline before the recorded one", "copied", served(1), recorded(2, "b"), undefined],
  ["refuses tables emptied under it", "copied", served(1), undefined, recorded(1, "a")],
];

describe("classifyHistory", () => {
  for (const [title, decision, by, record, known] of CASES) {
    it(title, () => assert.equal(classifyHistory(by, record, known), decision));
  }
});
