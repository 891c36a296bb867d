/** The process around a session: message channel, signals, exit. */
import { processLink } from '#core/link/index.ts';
import { runSession, type SessionPorts } from './session.ts';

/** Serves one run over this process's own message channel, trained by what `loadTrainer` loads. */
export function runWorkerProcess(loadTrainer: SessionPorts['loadTrainer']): void {
  if (process.send === undefined) {
    console.error('This program is started by Condenser. To train from a terminal: condenser train RUN.json');
    process.exit(2);
  }
  // Ctrl-C reaches every process of a terminal; only the host decides what it means.
  process.on('SIGINT', () => undefined);
  const link = processLink(process);
  runSession({
    link,
    loadTrainer,
    exit: (code) => void link.flush(1000).then(() => process.exit(code)),
    onTerminate: (listener) => void process.on('SIGTERM', listener),
  });
}
