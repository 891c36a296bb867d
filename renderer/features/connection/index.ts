/** Says when the host cannot be reached. */
export { ConnectionBanner } from './connection-banner.tsx';
