import type { SubnetDeclaration } from "../domain/model/catalog.ts";
import { toSpec } from "../domain/networks/network-manifest.ts";

/** A subnet's declaration as its row keeps it on every engine. */
export const encodeSubnet = (subnet: SubnetDeclaration): string => JSON.stringify(toSpec(subnet));
