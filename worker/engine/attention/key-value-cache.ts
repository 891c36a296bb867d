/** Keys and values of the tokens a decoder has seen, so that none is computed twice. */
import { invariant } from '#core/contract/errors.ts';
import type { ArenaTensor, Workspace } from '../workspace.ts';

/** The cache of one row in one layer: room for `capacity` tokens, one row of each matrix a token. */
export class KeyValueCache {
  readonly #workspace: Workspace;
  readonly #keys: ArenaTensor;
  readonly #values: ArenaTensor;
  readonly #capacity: number;
  #length = 0;

  /** Takes its memory from the workspace, which takes it back. */
  constructor(workspace: Workspace, capacity: number, keyWidth: number, valueWidth: number) {
    this.#workspace = workspace;
    this.#capacity = capacity;
    this.#keys = workspace.tensor(capacity, keyWidth);
    this.#values = workspace.tensor(capacity, valueWidth);
  }

  /** Tokens seen. */
  get length(): number {
    return this.#length;
  }

  /** Adds the keys and values of the next tokens. */
  append(keys: ArenaTensor, values: ArenaTensor): void {
    const end = this.#length + (keys.shape[0] ?? 0);
    invariant(end <= this.#capacity, `a cache for ${this.#capacity} tokens cannot hold ${end}`);
    this.#workspace.rows(this.#keys, this.#length, end).data.set(keys.data);
    this.#workspace.rows(this.#values, this.#length, end).data.set(values.data);
    this.#length = end;
  }

  /** Keys and values of the tokens `[from, to)`, in place. */
  view(from: number, to: number): { readonly keyHeads: ArenaTensor; readonly valueHeads: ArenaTensor } {
    return {
      keyHeads: this.#workspace.rows(this.#keys, from, to),
      valueHeads: this.#workspace.rows(this.#values, from, to),
    };
  }
}
