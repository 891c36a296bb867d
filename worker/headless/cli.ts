#!/usr/bin/env node
/** Entry of the command line. Nothing is imported before the version is checked: an older Node would fail with a riddle. */
const OLDEST_NODE: readonly [number, number] = [22, 18];

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor < OLDEST_NODE[1])) {
  console.error(
    `condenser needs Node ${OLDEST_NODE.join('.')} or newer; this is ${process.versions.node}. ` +
      'In the repository, `npm run -s condenser -- …` uses the right one.',
  );
  process.exitCode = 64;
} else {
  const { runCommandLine } = await import('./commands/run-command-line.ts');
  process.exitCode = await runCommandLine(process.argv.slice(2), process.stdout, process.stderr);
}
