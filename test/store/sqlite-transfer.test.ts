import { sqliteEngine } from "./sqlite-engine.ts";
import { testTransfer } from "./suite-transfer.ts";

testTransfer(sqliteEngine);
