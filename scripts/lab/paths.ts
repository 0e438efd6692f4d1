import { fileURLToPath } from "node:url";

/** The repository. */
export const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** The Node the project brings along, not the machine's own. */
export const NODE = `${ROOT}node_modules/.bin/node`;
export const DIST = `${ROOT}dist/`;
