/** What is odd about a data set, with the rows concerned. */
import type { Finding } from '#core/contract/dataset.ts';

/** Rows listed per finding; the count tells how many there are. */
const LISTED_ROWS = 20;

/** Collects findings of the same kind under one message. */
export class FindingList {
  readonly #byKind = new Map<
    string,
    { finding: Omit<Finding, 'rows' | 'count'>; rows: number[]; count: number }
  >();

  /**
   * @param code stable name; rows with the same code are counted together, the first message and hint are kept.
   * @param row 1-based.
   */
  add(severity: Finding['severity'], code: string, message: string, row: number, hint?: string): void {
    let kind = this.#byKind.get(code);
    if (kind === undefined) {
      const finding = { severity, code, message, ...(hint !== undefined && { hint }) };
      this.#byKind.set(code, (kind = { finding, rows: [], count: 0 }));
    }
    kind.count += 1;
    if (kind.rows.length < LISTED_ROWS) kind.rows.push(row);
  }

  count(code: string): number {
    return this.#byKind.get(code)?.count ?? 0;
  }

  list(): Finding[] {
    return [...this.#byKind.values()].map(({ finding, rows, count }) => ({ ...finding, rows, count }));
  }
}

/** Hashes that occur more than once in a list. */
function repeated(hashes: Float64Array): Set<number> {
  const sorted = hashes.slice().sort();
  const result = new Set<number>();
  for (let i = 1; i < sorted.length; i++) {
    const hash = sorted[i] ?? 0;
    if (hash === sorted[i - 1]) result.add(hash);
  }
  return result;
}

/** Reports every example whose content occurred in an earlier row. */
export function findDuplicates(hashes: Float64Array, rows: Uint32Array, findings: FindingList): void {
  const duplicated = repeated(hashes);
  const seen = new Set<number>();
  for (const [index, hash] of hashes.entries()) {
    if (!duplicated.has(hash)) continue;
    if (seen.has(hash)) {
      findings.add('warning', 'data/duplicate', 'rows repeat an earlier row word for word', rows[index] ?? 0);
    }
    seen.add(hash);
  }
}

/** Reports every validation example that is also trained on. */
export function findLeakage(
  train: readonly Float64Array[],
  validation: { readonly hashes: Float64Array; readonly rows: Uint32Array },
  findings: FindingList,
): void {
  const held = new Set(validation.hashes);
  const leaked = new Set<number>();
  for (const hashes of train) for (const hash of hashes) if (held.has(hash)) leaked.add(hash);
  for (const [index, hash] of validation.hashes.entries()) {
    if (!leaked.has(hash)) continue;
    const message = 'validation rows are also in the training data, so the validation loss is too low';
    findings.add('warning', 'data/leakage', message, validation.rows[index] ?? 0);
  }
}
