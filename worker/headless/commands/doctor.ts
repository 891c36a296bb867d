/** `doctor`: what this machine has to train with. */
import { programVersion } from '#core/process/program-root.ts';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { describePlacement, findAdapter, probeBeside } from '#worker/runtime/index.ts';
import { readDeviceInfo } from '../device-info.ts';
import { dataFolder, sampleModel } from '../host-ports.ts';
import { ownWorkerProgram } from '../spawn-worker.ts';
import { EXIT, type Command } from './command.ts';
import { count, megabytes, table } from './terminal.ts';

/** Looks at the machine; fails when nothing can train here. */
export const doctor: Command = async ({ home: given, terminal }) => {
  const home = path.resolve(given ?? dataFolder());
  const { node, entry } = ownWorkerProgram();
  terminal.progress('looking for a graphics adapter, and trying a training step on it');
  const search = await findAdapter(probeBeside(node, entry), sampleModel());
  const device = await readDeviceInfo(existing(home), search);
  const { cpu, memoryMB, diskFreeMB, providers, versions } = device;
  const usable = providers.some(({ used }) => used);
  const text = [
    table([
      ['Condenser', programVersion()],
      ...Object.entries(versions),
      ['processor', `${cpu.model}, ${count(cpu.cores)} threads`],
      ['instructions', cpu.instructionSets.join(', ') || 'unknown'],
      ['memory', `${megabytes(memoryMB.available)} available of ${megabytes(memoryMB.total)}`],
      ['data folder', `${home}, ${megabytes(diskFreeMB)} free`],
    ]),
    '',
    table(
      providers.flatMap(({ name, used, reason, placement }) => [
        [name, used ? 'used' : 'not used', reason],
        ...(placement === undefined
          ? []
          : [['', '', `A training step of the sample: ${describePlacement(placement)}.`]]),
      ]),
    ),
  ].join('\n');
  const document = { version: programVersion(), home, ...device };
  return { exitCode: usable ? EXIT.done : EXIT.failed, document, text };
};

/** The folder, or the nearest one above that exists: the disk is the same. */
function existing(folder: string): string {
  const parent = path.dirname(folder);
  return existsSync(folder) || parent === folder ? folder : existing(parent);
}
