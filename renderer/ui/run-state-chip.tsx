import type { RunState } from '#core/contract/run-state.ts';

const tones: Record<RunState, string> = {
  draft: '',
  queued: '',
  preparing: 'accent',
  running: 'ok',
  paused: 'warn',
  completed: '',
  stopped: '',
  failed: 'bad',
  interrupted: 'warn',
};

const marks: Record<RunState, string> = {
  draft: '○',
  queued: '○',
  preparing: '◔',
  running: '●',
  paused: '‖',
  completed: '✓',
  stopped: '■',
  failed: '✕',
  interrupted: '!',
};

/** A run's state as a word with a mark, so that it does not hang on colour. */
export function RunStateChip({ state }: { readonly state: RunState }) {
  return (
    <span className={`chip ${tones[state]}`}>
      <span aria-hidden="true">{marks[state]} </span>
      {state}
    </span>
  );
}
