import { testStore } from "../suite/store-suite.ts";
import { sqliteEngine } from "../support/sqlite-engine.ts";

testStore(sqliteEngine);
