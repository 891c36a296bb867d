/** A program in the foreground of a terminal. */
import { spawn } from 'node:child_process';

const LOOK_MS = 500;

/**
 * Runs a program to its end, and asks it to end when this process is asked to.
 * @returns its exit code; 1 where a signal ended it.
 */
export async function runInForeground(
  command: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<number> {
  const child = spawn(command, args, { ...options, stdio: 'inherit' });
  const end = () => void child.kill('SIGTERM');
  // Ctrl-C reaches the child by itself, as a member of the terminal's foreground group: sent twice it would mean "at once".
  process.on('SIGINT', () => {});
  process.on('SIGTERM', end);
  // npm starts a script in a shell, and hands a signal on to that only: some shells end of it without a word to what they run.
  const shell = process.ppid;
  const isOfNpm = process.env['npm_lifecycle_event'] !== undefined;
  const look = setInterval(() => {
    if (!isOfNpm || process.ppid === shell) return;
    clearInterval(look);
    end();
  }, LOOK_MS);
  try {
    return await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => resolve(signal === null ? (code ?? 0) : 1));
    });
  } finally {
    clearInterval(look);
  }
}
