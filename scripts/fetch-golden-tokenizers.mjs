/**
 * Installs the tokenizer packages named by the golden cases of kind `tokenizer` into
 * `node_modules/.cache/golden-tokenizers` and checks their files against the hashes in the cases.
 *
 * Usage: `node scripts/fetch-golden-tokenizers.mjs [CASES]` (default `../shared/golden/tokenizers`).
 * The packages (about 840 MB together) serve one test only, so they are not dependencies of the project.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const casesDir = path.resolve(process.argv[2] ?? path.join(root, '../shared/golden/tokenizers'));
const prefix = path.join(root, 'node_modules/.cache/golden-tokenizers');

if (!existsSync(casesDir)) {
  console.error(`no tokenizer cases at ${casesDir}`);
  process.exit(2);
}
const cases = readdirSync(casesDir)
  .map((name) => path.join(casesDir, name, 'case.json'))
  .filter((file) => existsSync(file))
  .map((file) => JSON.parse(readFileSync(file, 'utf8')));

const installedVersion = (name) => {
  const manifest = path.join(prefix, 'node_modules', name, 'package.json');
  return existsSync(manifest) ? JSON.parse(readFileSync(manifest, 'utf8')).version : undefined;
};
const missing = cases
  .filter((item) => installedVersion(item.package) !== item.package_version)
  .map((item) => `${item.package}@${item.package_version}`);

if (missing.length > 0) {
  mkdirSync(prefix, { recursive: true });
  // A manifest of its own keeps npm from walking up to this project's.
  const manifest = path.join(prefix, 'package.json');
  if (!existsSync(manifest)) writeFileSync(manifest, '{ "private": true }\n');
  const wanted = cases.map((item) => `${item.package}@${item.package_version}`);
  // npm prunes what `--no-save` did not record, so every wanted package is named each time.
  const options = ['--prefix', prefix, '--no-save', '--ignore-scripts', '--no-audit', '--no-fund'];
  execFileSync('npm', ['install', ...options, ...wanted], { cwd: prefix, stdio: 'inherit' });
}

/** The packages keep the tokenizer files in `models/`; older ones at the top. */
const locate = (name, file) =>
  ['models', '.', 'dist']
    .map((folder) => path.join(prefix, 'node_modules', name, folder, file))
    .find((candidate) => existsSync(candidate));

let bad = 0;
for (const item of cases) {
  for (const [file, expected] of Object.entries(item.files_sha256)) {
    const found = locate(item.package, file);
    const actual = found && createHash('sha256').update(readFileSync(found)).digest('hex');
    if (actual === expected) continue;
    bad += 1;
    console.error(
      `${item.package}/${file}: ${actual ? `sha256 ${actual}, expected ${expected}` : 'missing'}`,
    );
  }
}
console.log(`${cases.length} tokenizer packages, ${bad} files wrong`);
process.exit(bad === 0 ? 0 : 1);
