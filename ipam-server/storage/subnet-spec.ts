import type { SubnetDeclaration } from "../domain/catalog.ts";
import { toSpec } from "../domain/transfer.ts";

/** A subnet's declaration as its row keeps it on every engine. */
export const encodeSubnet = (subnet: SubnetDeclaration): string => JSON.stringify(toSpec(subnet));
