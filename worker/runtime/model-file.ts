import { availableParallelism } from 'node:os';
import { InvariantError } from '#core/contract/errors.ts';
import { loadBinding } from './binding.ts';
import { SessionProgram, type Program } from './program.ts';

/**
 * Opens a model file on the CPU, as any program would. The values of its external data stay in their file, of which the system
 * reads what is used: packing matrices anew and folding constants would each take memory for all of them.
 * @param names of what is fed and what is asked for.
 * @throws InvariantError when ONNX Runtime refuses it.
 */
export function openModelFile(
  file: string,
  names: { readonly inputs: readonly string[]; readonly outputs: readonly string[] },
): Program {
  const binding = loadBinding();
  try {
    const session = binding.createSession(file, {
      executionProviders: ['cpu'],
      intraOpNumThreads: availableParallelism(),
      graphOptimizationLevel: 'all',
      logSeverityLevel: 4,
      extra: {
        session: { disable_prepacking: '1' },
        optimization: { disable_specified_optimizers: 'ConstantFolding' },
      },
    });
    const dispose = () => program.dispose();
    const program = new SessionProgram(binding, session, { name: file, ...names }, null, false, dispose);
    return program;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new InvariantError(`ONNX Runtime refuses ${file}: ${message}`, { cause: error });
  }
}
