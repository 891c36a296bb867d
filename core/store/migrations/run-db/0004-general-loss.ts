/** Loss on the general data of an evaluation; null where the run has none. */
export const generalLoss = {
  version: 4,
  sql: `
    ALTER TABLE evaluation ADD COLUMN general_loss REAL;
    ALTER TABLE evaluation ADD COLUMN general_tokens INTEGER;`,
} as const;
