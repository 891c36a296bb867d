/** `serve`: the workbench in a browser, until Ctrl-C. */
import { serve } from '../serve.ts';
import type { Command } from './command.ts';

/** Serves until the process is told to end; runs in progress save first. */
export const serveCommand: Command = async (invocation) => {
  const { terminal, home } = invocation;
  const served = await serve({ home, port: invocation.integer('port', 0) ?? 0 });
  terminal.jsonLine({ url: served.url, port: served.port });
  terminal.textLine(`${served.url}\nCtrl-C ends it; runs in progress save first.`);
  await new Promise<void>((resolve) => {
    process.once('SIGINT', () => resolve());
    process.once('SIGTERM', () => resolve());
  });
  await served.close();
  return {};
};
