/** Memory of the graphics adapter that a step left in use; null where there is none. */
export const deviceMemory = {
  version: 3,
  sql: `ALTER TABLE step ADD COLUMN device_mb REAL;`,
} as const;
