/** Names of the two channels between page and main process. */

/** Page → main: `(name, input)`, answered with a `Result`. */
export const CALL_CHANNEL = 'condenser:call';
/** Main → page: `(name, payload)`. */
export const PUSH_CHANNEL = 'condenser:push';
