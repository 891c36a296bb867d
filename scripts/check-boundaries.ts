/** Checks every import of the repository against `boundaries.ts`; prints what breaks it and exits 1 then. */
import { globSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import path from 'node:path';
import { parseSync } from 'vite';
import { findCycles, findViolations, type Import } from './boundaries.ts';

const importNodes = new Set([
  'ImportDeclaration',
  'ExportNamedDeclaration',
  'ExportAllDeclaration',
  'ImportExpression',
  'TSImportType',
]);

/** Every module named in a source text: static, dynamic, re-exported or only for its types. */
export function specifiersOf(file: string, source: string): string[] {
  const { program, errors } = parseSync(file, source);
  if (errors.length > 0) throw new Error(`${file} does not parse: ${errors[0]?.message}`);
  const found: string[] = [];
  const walk = (node: unknown): void => {
    if (Array.isArray(node)) {
      for (const child of node) walk(child);
    } else if (isRecord(node)) {
      const module = node['source'];
      if (importNodes.has(String(node['type'])) && isRecord(module) && typeof module['value'] === 'string') {
        found.push(module['value']);
      }
      for (const child of Object.values(node)) walk(child);
    }
  };
  walk(program.body);
  return found;
}

/** Resolves a specifier to a file of the repository or to a package name. */
function resolveImport(from: string, specifier: string): Import {
  const relative = specifier.startsWith('.')
    ? path.posix.join(path.posix.dirname(from), specifier)
    : specifier.startsWith('#')
      ? specifier.slice(1)
      : undefined;
  if (relative === undefined) {
    const parts = specifier.split('/');
    const name = specifier.startsWith('@') ? parts.slice(0, 2).join('/') : (parts[0] ?? '');
    const builtin = builtinModules.includes(name) ? `node:${name}` : name;
    return { from, to: builtin, local: false };
  }
  return { from, to: relative.replace(/\?.*$/, ''), local: true };
}

/** All imports of the sources under `root`. */
export function collectImports(root: string): Import[] {
  const files = globSync('{core,electron,renderer,worker,e2e,scripts}/**/*.{ts,tsx}', { cwd: root })
    .map((file) => file.split(path.sep).join('/'))
    .sort();
  return files.flatMap((file) =>
    specifiersOf(file, readFileSync(path.join(root, file), 'utf8')).map((specifier) =>
      resolveImport(file, specifier),
    ),
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

if (process.argv[1] === import.meta.filename) {
  const imports = collectImports(path.resolve(import.meta.dirname, '..'));
  const problems = [
    ...findViolations(imports),
    ...findCycles(imports).map((files) => `import cycle: ${files.join(', ')}`),
  ];
  for (const problem of problems) console.error(problem);
  console.log(`boundaries: ${imports.length} imports, ${problems.length} violations`);
  if (problems.length > 0) process.exitCode = 1;
}
