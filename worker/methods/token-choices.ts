/** Which experts tokens were sent to, counted by token id. */
import { z } from 'zod';
import { topK, type Choice, type RouterShape } from '#worker/model/index.ts';

/** For each token: its id, then places among the experts of all layers and their counts in turn. */
export const SavedChoices = z.array(z.array(z.int()));

/** Counts of choices by token id, layer and expert. */
export class TokenChoices {
  readonly #shapes: readonly RouterShape[];
  /** The first expert of each MoE layer among those of all. */
  readonly #starts: readonly number[];
  readonly #experts: number;
  /** By id, `[experts of all layers]`. */
  readonly #counts = new Map<number, Uint32Array>();
  /** What `save` returned, while it is still true. */
  #saved: z.output<typeof SavedChoices> | null = null;

  constructor(shapes: readonly RouterShape[]) {
    this.#shapes = shapes;
    let end = 0;
    this.#starts = shapes.map(({ experts }) => (end += experts) - experts);
    this.#experts = end;
  }

  /** Counts what MoE layer `layer` chose. @param ids_N the token of each row; −1: padding. */
  add({ chosen_NK, k }: Choice, ids_N: Int32Array, layer: number): void {
    this.#saved = null;
    const start = this.#starts[layer] ?? 0;
    chosen_NK.forEach((expert, at) => {
      const id = ids_N[Math.floor(at / k)] ?? -1;
      if (id < 0 || expert < 0) return;
      const counts = this.#of(id);
      counts[start + expert] = (counts[start + expert] as number) + 1;
    });
  }

  #of(id: number): Uint32Array {
    const known = this.#counts.get(id);
    if (known !== undefined) return known;
    const counts = new Uint32Array(this.#experts);
    this.#counts.set(id, counts);
    return counts;
  }

  /** The k experts each token chose most often, `[vocabulary × k]` for each MoE layer; −1 for tokens without choices. */
  mostFrequent(vocabulary: number): Int32Array[] {
    return this.#shapes.map(({ experts, expertsPerToken: k }, layer) => {
      const table_VK = new Int32Array(vocabulary * k).fill(-1);
      const start = this.#starts[layer] ?? 0;
      for (const [id, counts] of this.#counts) {
        const own = Float32Array.from(counts.subarray(start, start + experts));
        table_VK.set(topK(own, 1, experts, k), id * k);
      }
      return table_VK;
    });
  }

  /** Share of all choices that tables `[vocabulary × k]`, one for each MoE layer, make too; 1 where there are none. */
  shareIn(tables: readonly Int32Array[]): number {
    let [alike, all] = [0, 0];
    for (const [id, counts] of this.#counts) {
      for (const count of counts) all += count;
      this.#shapes.forEach(({ expertsPerToken: k }, layer) => {
        for (const expert of tables[layer]?.subarray(id * k, (id + 1) * k) ?? [])
          if (expert >= 0) alike += counts[(this.#starts[layer] ?? 0) + expert] as number;
      });
    }
    return all === 0 ? 1 : alike / all;
  }

  save(): z.output<typeof SavedChoices> {
    this.#saved ??= [...this.#counts].map(([id, counts]) => {
      const saved = [id];
      counts.forEach((count, at) => {
        if (count > 0) saved.push(at, count);
      });
      return saved;
    });
    return this.#saved;
  }

  restore(saved: z.output<typeof SavedChoices>): void {
    this.#saved = null;
    this.#counts.clear();
    for (const [id = -1, ...entries] of saved) {
      const counts = this.#of(id);
      for (let i = 0; i < entries.length; i += 2) counts[entries[i] ?? -1] = entries[i + 1] ?? 0;
    }
  }
}
