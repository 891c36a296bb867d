/** Router scores summed over tokens, and the gradient norm of each expert; blobs as the others of the row, float32. */
export const softUsage = {
  version: 2,
  sql: `
    ALTER TABLE usage ADD COLUMN soft BLOB;
    ALTER TABLE usage ADD COLUMN grad_norm BLOB;
  `,
} as const;
