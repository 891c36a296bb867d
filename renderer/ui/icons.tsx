/** The few pictures of the interface, drawn on a 16 px grid in the text's colour. */
const paths = {
  home: 'M2.5 7.5 8 3l5.5 4.5M4 6.6V13h8V6.6',
  models: 'M8 2 13.5 5v6L8 14l-5.5-3V5zM2.5 5 8 8l5.5-3M8 8v6',
  data: 'M3 4c0-2.2 10-2.2 10 0v8c0 2.2-10 2.2-10 0zM3 4c0 2.2 10 2.2 10 0M3 8c0 2.2 10 2.2 10 0',
  runs: 'M2 12.5 5.5 8l3 2.5L14 4M2 2v12h12',
  compare: 'M2 11c3 0 3-7 6-7s3 3 6 3M2 5c3 0 3 7 6 7s3-2 6-2',
  report: 'M4 2h5.5L12 4.5V14H4zM6 7h4M6 9.5h4M6 12h2.5',
  settings: 'M2 5h7M12 5h2M2 11h2M7 11h7M10.5 3.5v3M5.5 9.5v3',
  plus: 'M8 3v10M3 8h10',
  down: 'M4 6.5 8 10.5l4-4',
  check: 'M3.5 8.5 6.5 11.5l6-7',
  up: 'M8 13V3M4 7l4-4 4 4',
} as const;

/** Name of a picture. */
export type IconName = keyof typeof paths;

/** A picture beside words; it says nothing of its own, so screen readers skip it. */
export function Icon({ name, size = 16 }: { readonly name: IconName; readonly size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 16 16" aria-hidden="true">
      <path
        d={paths[name]}
        fill="none"
        stroke="currentColor"
        strokeWidth="1.4"
        strokeLinecap="round"
        strokeLinejoin="round"
      />
    </svg>
  );
}

/** The mark of the app: three paths that join in one expert. */
export function Brand() {
  return (
    <svg width="20" height="20" viewBox="0 0 20 20" aria-hidden="true">
      <path d="M2 4l8 6M2 10h8M2 16l8-6" fill="none" stroke="var(--faint)" strokeWidth="1.4" />
      <circle cx="13" cy="10" r="4.6" fill="var(--accent)" />
    </svg>
  );
}
