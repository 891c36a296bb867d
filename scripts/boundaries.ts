/**
 * Who may import whom. The table is the rule; `check-boundaries.ts` reads the tree and reports what breaks it.
 *
 * An area is a folder. Importing a file of another area needs an entry in `areas` below and goes through that
 * area's `index.ts`. Type imports count like any other. Tests and their
 * fixtures may reach every area, still by its index.
 */

/** What the files of one area may import besides each other. */
export interface AreaRule {
  /** Areas it may import; `*` for all. */
  readonly areas: readonly string[];
  /** Packages it may import, `node:` built-ins included; left out: any package without an owner. */
  readonly packages?: readonly string[];
  /** Its files are its interface: importable one by one, without an index. */
  readonly open?: true;
}

const engineParts = [
  'core/contract',
  'core/load',
  'core/process',
  'worker/checkpoint',
  'worker/data',
  'worker/engine',
  'worker/families',
  'worker/graph',
  'worker/kernels',
  'worker/methods',
  'worker/model',
  'worker/random',
  'worker/runtime',
];

/** Folder → what it may import. A source file outside every area is a violation too. */
const areas: Readonly<Record<string, AreaRule>> = {
  'core/contract': { areas: [], packages: ['zod'], open: true },
  'core/link': { areas: ['core/contract'], packages: ['zod'] },
  'core/store': { areas: ['core/contract', 'core/store/migrations'] },
  // What a migration did must never change, so it stands on nothing that may.
  'core/store/migrations': { areas: [], packages: [], open: true },
  // How unevenly a load lies on experts: pure, and the same for reports, charts and methods.
  'core/load': { areas: [], packages: [], open: true },
  'core/report': { areas: ['core/contract', 'core/load'] },
  // What a process asks of its system.
  'core/process': { areas: [], open: true },
  'core/host': { areas: ['core/contract', 'core/link', 'core/process', 'core/store', 'core/report'] },

  electron: {
    areas: [
      'core/contract',
      'core/link',
      'core/host',
      'core/store',
      'core/report',
      'worker/headless/host-ports',
      'worker/headless/spawn-worker',
    ],
  },
  renderer: { areas: ['core/contract', 'core/load'] },

  'worker/graph': { areas: [], packages: ['zod'] },
  'worker/model': { areas: ['worker/graph'], packages: ['zod'] },
  'worker/families': { areas: ['core/contract', 'worker/graph', 'worker/model'], packages: ['zod'] },
  'worker/methods': {
    areas: ['core/contract', 'core/load', 'worker/graph', 'worker/model', 'worker/random'],
    packages: ['zod'],
  },
  'worker/random': { areas: [], packages: [] },
  'worker/kernels': { areas: ['core/contract'] },
  'worker/runtime': { areas: ['core/contract', 'core/process', 'worker/graph'] },
  'worker/checkpoint': {
    areas: ['core/contract', 'worker/graph', 'worker/model', 'worker/families', 'worker/kernels'],
  },
  'worker/data': { areas: ['core/contract', 'worker/random'] },
  'worker/engine': {
    areas: [
      'core/contract',
      'worker/checkpoint',
      'worker/graph',
      'worker/model',
      'worker/families',
      'worker/methods',
      'worker/kernels',
      'worker/random',
      'worker/runtime',
    ],
  },
  'worker/plan': { areas: engineParts },
  'worker/train': { areas: [...engineParts, 'core/report', 'core/store', 'worker/plan'] },
  'worker/export': { areas: [...engineParts, 'core/store', 'worker/plan', 'worker/train'] },
  // A checkpoint that tests of commands make as well.
  'worker/transform/dense-model.fixture': { areas: [...engineParts], open: true },
  'worker/transform': { areas: [...engineParts, 'core/report', 'worker/export', 'worker/train'] },
  'worker/headless': {
    areas: [
      ...engineParts,
      'core/host',
      'core/link',
      'core/report',
      'core/store',
      'worker/export',
      'worker/plan',
      'worker/train',
      'worker/transform',
      'worker/headless/commands/bench/machine-load',
      'worker/headless/commands/parity',
      'worker/headless/host-ports',
      'worker/headless/spawn-worker',
    ],
  },
  // The peer benchmark watches the machine as the command does.
  'worker/headless/commands/bench/machine-load': { areas: [], open: true },
  'worker/headless/spawn-worker': { areas: ['core/contract', 'core/host', 'core/link'], open: true },
  // How a host reads models and data and plans runs; both shells give it to `createHost`.
  'worker/headless/host-ports': {
    areas: [
      ...engineParts,
      'core/host',
      'core/link',
      'worker/headless/spawn-worker',
      'worker/export',
      'worker/train',
    ],
    open: true,
  },
  'worker/headless/commands/parity': {
    areas: [...engineParts, 'worker/train', 'worker/testing'],
    open: true,
  },
  'worker/testing': {
    areas: [...engineParts, 'core/report', 'worker/export', 'worker/train', 'worker/transform'],
  },
  // The process itself: main, session, heartbeat thread.
  worker: { areas: [...engineParts, 'core/link', 'core/store', 'worker/export', 'worker/train'] },

  // The forms are compared with what methods say of themselves.
  e2e: { areas: ['core/contract', 'scripts', 'worker/methods'], open: true },
  scripts: { areas: ['*'], open: true },
};

/** Package → the one area that may import it. */
const owners: Readonly<Record<string, string>> = {
  electron: 'electron',
  'better-sqlite3': 'core/store',
  'onnxruntime-node': 'worker/runtime',
  'onnxruntime-common': 'worker/runtime',
  react: 'renderer',
  'react-dom': 'renderer',
  '@base-ui/react': 'renderer',
  '@tanstack/react-query': 'renderer',
  '@testing-library/react': 'renderer',
  wouter: 'renderer',
  uplot: 'renderer',
};

/** Importable from everywhere: how every folder fails. */
const universal = 'core/contract/errors.ts';

/** One import as written in a file. */
export interface Import {
  /** Importing file, relative to the repository root, with `/`. */
  readonly from: string;
  /** The imported source file, relative likewise, or a package name (`node:fs`, `@scope/name`). */
  readonly to: string;
  /** True when `to` is a file of this repository. */
  readonly local: boolean;
}

/** The area a file belongs to: the longest table entry that is the file (without extension) or a folder above it. */
export function areaOf(file: string): string | undefined {
  const stem = file.replace(/\.[^./]+$/, '');
  return Object.keys(areas)
    .filter((area) => stem === area || file.startsWith(`${area}/`))
    .reduce<string | undefined>((best, area) => (best && best.length > area.length ? best : area), undefined);
}

const isTest = (file: string) => /\.(test|fixture)\.tsx?$/.test(file);

/** Why one import is not allowed, or undefined when it is. */
function objection({ from, to, local }: Import): string | undefined {
  const area = areaOf(from);
  if (area === undefined) {
    return from.includes('/') ? 'the file lies outside every area of scripts/boundaries.ts' : undefined;
  }
  const rule = areas[area];
  if (!local) {
    const owner = owners[to];
    const inOwner = owner === undefined || from.startsWith(`${owner}/`);
    if (!inOwner) return `only ${owner}/ may import ${to}`;
    if (isTest(from) || rule?.packages === undefined || rule.packages.includes(to)) return undefined;
    return `${area}/ may import no package but ${rule.packages.join(', ') || 'none'}`;
  }
  if (to === universal && area !== 'core/store/migrations') return undefined;
  const target = areaOf(to);
  const inside = target === undefined || target === area || area.startsWith(`${target}/`);
  if (inside) return undefined;
  const allowed = rule?.areas ?? [];
  if (!allowed.includes('*') && !allowed.includes(target) && !isTest(from)) {
    return `${area}/ may not import ${target}/`;
  }
  const open = areas[target]?.open === true || to === `${target}/index.ts`;
  return open ? undefined : `${target}/ is imported through its index.ts`;
}

/** Every import that breaks the table, as `file → imported: reason`. */
export function findViolations(imports: readonly Import[]): string[] {
  return imports.flatMap((entry) => {
    const reason = objection(entry);
    return reason === undefined ? [] : [`${entry.from} → ${entry.to}: ${reason}`];
  });
}

/** Import cycles: each strongly connected component of more than one file, its files sorted (Tarjan 1972). */
export function findCycles(imports: readonly Import[]): string[][] {
  const next = Map.groupBy(
    imports.filter((entry) => entry.local),
    (entry) => entry.from,
  );
  const order = new Map<string, number>();
  const open: string[] = [];
  const cycles: string[][] = [];
  /** Returns the lowest order reachable from `file` among files whose component is still open. */
  const visit = (file: string): number => {
    const own = order.size;
    let lowest = own;
    order.set(file, own);
    open.push(file);
    for (const { to } of next.get(file) ?? []) {
      const seen = order.get(to);
      if (seen === undefined) lowest = Math.min(lowest, visit(to));
      else if (open.includes(to)) lowest = Math.min(lowest, seen);
    }
    if (lowest === own) {
      const component = open.splice(open.indexOf(file));
      if (component.length > 1) cycles.push(component.sort());
    }
    return lowest;
  };
  for (const file of next.keys()) if (!order.has(file)) visit(file);
  return cycles;
}
