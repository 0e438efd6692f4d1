import { sqliteEngine } from "./sqlite-engine.ts";
import { testStore } from "./suite.ts";

testStore(sqliteEngine);
