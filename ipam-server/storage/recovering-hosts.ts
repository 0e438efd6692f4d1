/** The hosts that a restored database waits for, on every engine. Devices have no agent that reports. */
export const RECOVERING_HOSTS = `SELECT cluster, host FROM ports WHERE host IS NOT NULL AND owner_kind <> 'device'
  UNION SELECT cluster, inactive_host FROM ports WHERE inactive_host IS NOT NULL AND owner_kind <> 'device' ORDER BY 1, 2`;
