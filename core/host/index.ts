/** The host core of both shells and of the command line. */
export { createHost, type Host } from './create-host.ts';
export { pastErrorsIn } from './past-estimates.ts';
export type { DataPort, DataView, HostPorts, ProcessExit, SpawnWorker, WorkerProcess } from './ports.ts';
export { resolveSpecPaths } from './resolve-spec.ts';
export { readDemo } from './sample-service.ts';
