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
  await keepCompiled();
  await (isBenchToRestart() ? restartAsWorker() : run());
}

/** Keeps compiled modules from start to start, those of child processes too: a command answers in half the time. */
async function keepCompiled(): Promise<void> {
  const { enableCompileCache } = await import('node:module');
  const { directory } = enableCompileCache();
  if (directory !== undefined) process.env['NODE_COMPILE_CACHE'] ??= directory;
}

function isBenchToRestart(): boolean {
  return process.argv[2] === 'bench' && process.env['MALLOC_TRIM_THRESHOLD_'] === undefined;
}

/** `bench` tells what a run takes, so it has what a worker has. */
async function restartAsWorker(): Promise<void> {
  const { spawnSync } = await import('node:child_process');
  const { WORKER_ALLOCATOR } = await import('./spawn-worker.ts');
  const again = [...process.execArgv, ...process.argv.slice(1)];
  const env = { ...process.env, ...WORKER_ALLOCATOR };
  const { status } = spawnSync(process.execPath, again, { stdio: 'inherit', env });
  process.exitCode = status ?? 1;
}

async function run(): Promise<void> {
  const { runCommandLine } = await import('./commands/run-command-line.ts');
  process.stdout.once('error', endWithoutReader);
  process.exitCode = await runCommandLine(process.argv.slice(2), process.stdout, process.stderr);
}

/** Nobody reads on (`| head`), or the disk that takes the output is full. */
function endWithoutReader(error: NodeJS.ErrnoException): void {
  // What is still written fails in the same way.
  process.stdout.on('error', () => undefined);
  if (error.code !== 'EPIPE') {
    console.error(`condenser: the output could not be written: ${error.message}`);
    process.exit(1);
  }
  // A run stops with a checkpoint, as after Ctrl-C; everything else has nothing left to do.
  if (!process.emit('SIGINT')) process.exit(0);
}
