/** Numbers of ports that are none (OpenFlow 1.5 section 7.2.1.2). */
export const PORT = { inPort: 0xfffffff8, normal: 0xfffffffa, controller: 0xfffffffd, local: 0xfffffffe } as const;

const NAMES = new Map<number, string>([
  [PORT.inPort, "IN_PORT"],
  [PORT.normal, "NORMAL"],
  [PORT.controller, "CONTROLLER"],
  [PORT.local, "LOCAL"],
]);

/** ovs-ofctl's name of a reserved port. */
export function portName(port: number): string | undefined {
  return NAMES.get(port);
}
