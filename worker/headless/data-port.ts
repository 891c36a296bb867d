/** The host's view of data sets, over the data folder. */
import type { DataPort, DataView } from '#core/host/index.ts';

// Tokenizers and file readers are loaded at their first use: a host that only lists runs starts without them.
const data = () => import('#worker/data/index.ts');

/** Reads files with the same code as training. */
export const dataPort: DataPort = {
  open: async (path, mapping) => {
    const { describeFile } = await data();
    const {
      bytes,
      rows,
      fileFormat,
      columns,
      recordFormat,
      mapping: used,
      sha256,
    } = await describeFile({ path, mapping });
    return { bytes, rows, fileFormat, columns, recordFormat, mapping: used, sha256 };
  },
  inspect: async ({ path, mapping }, view, onProgress) => {
    const { inspectDataset } = await data();
    return inspectDataset([{ path, mapping }], { ...(await processOptions(view)), onProgress });
  },
  preview: async ({ path, mapping }, view, fromRow, rows) => {
    const { previewRows } = await data();
    const found = await previewRows({ path, mapping }, fromRow, rows, await processOptions(view));
    // A row that cannot be used is a finding of the inspection; here it only must not hide its neighbours.
    const [first] = found.refused;
    if (found.rows.length === 0 && first !== undefined) throw first.error;
    return [...found.rows];
  },
  sample: async ({ path }, rows) => {
    const { openSource } = await data();
    const source = await openSource(path, { onBadRow: () => undefined });
    try {
      const found: Record<string, string>[] = [];
      for await (const { value } of source.rows()) {
        found.push(
          Object.fromEntries(
            Object.entries(value).map(([key, item]) => [key, JSON.stringify(item) ?? 'null']),
          ),
        );
        if (found.length === rows) break;
      }
      return found;
    } finally {
      await source.close();
    }
  },
};

async function processOptions({ modelPath, maxLength, lossOn }: DataView) {
  const { keptTokenizer } = await import('./tokenizer-cache.ts');
  return { tokenizer: await keptTokenizer(modelPath), template: 'auto' as const, maxLength, lossOn };
}
