import { Option } from "commander";
import { OUTPUT_FORMATS, type OutputFormat } from "./output.ts";

export interface OutputFlag {
  output?: OutputFormat;
}

export function createOutputOption(formats: readonly OutputFormat[] = OUTPUT_FORMATS): Option {
  return new Option("-o, --output <format>", "output format; default: a table").choices(formats);
}
