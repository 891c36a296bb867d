/** The style sheet of the HTML report: the application's own colours, light, dark and on paper. */
import { CLASSES } from './heat-map.ts';

const light = {
  bg: '#f7f8fa',
  card: '#ffffff',
  ink: '#171a21',
  muted: '#5b6472',
  line: '#e4e7ec',
  line2: '#d0d5dd',
  accent: '#1f6f8b',
  ok: '#1d7a4f',
  warn: '#9a4f00',
  info: '#1f5fa8',
};
const dark = {
  bg: '#101318',
  card: '#161a21',
  ink: '#e8ebf0',
  muted: '#9aa4b2',
  line: '#252b35',
  line2: '#343c49',
  accent: '#4fa3bf',
  ok: '#4cb782',
  warn: '#e0963c',
  info: '#6ea8ea',
};
const lightRuns = ['#1f5fa8', '#c9570a', '#1d7a4f', '#7d4f9e', '#5b6472', '#8a6d00', '#0b7d83', '#b42318'];
const darkRuns = ['#6ea8ea', '#f0914a', '#4cb782', '#c39be0', '#9aa4b2', '#d9b34a', '#45c0c0', '#f0685c'];
const lightScale = ['#1f5fa8', '#f4f4f2', '#c9570a'] as const;
const darkScale = ['#5b9be6', '#20242b', '#f0914a'] as const;

/** The colour classes of the maps: low – middle – high. */
function scaleRules([low, middle, high]: readonly [string, string, string]): string {
  return Array.from({ length: CLASSES }, (_, i) => {
    const at = (2 * i) / (CLASSES - 1) - 1;
    return `.q${i}{fill:${mixed(middle, at < 0 ? low : high, Math.abs(at) ** 0.85)}}`;
  }).join('');
}

function mixed(from: string, to: string, share: number): string {
  const channel = (colour: string, i: number) => Number.parseInt(colour.slice(1 + 2 * i, 3 + 2 * i), 16);
  const hex = [0, 1, 2].map((i) =>
    Math.round(channel(from, i) + (channel(to, i) - channel(from, i)) * share)
      .toString(16)
      .padStart(2, '0'),
  );
  return `#${hex.join('')}`;
}

function theme(colours: Readonly<Record<string, string>>, runs: readonly string[]): string {
  const variables = Object.entries(colours).map(([name, value]) => `--${name}:${value}`);
  return [`:root{${variables.join(';')}}`, ...runs.map((colour, i) => `.r${i}{--run:${colour}}`)].join('');
}

/** The whole style sheet. */
export const reportStyle = `
${theme(light, lightRuns)}${scaleRules(lightScale)}
@media screen and (prefers-color-scheme:dark){${theme(dark, darkRuns)}${scaleRules(darkScale)}}
:root{color-scheme:light dark}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:14px/1.5 system-ui,"Segoe UI","Noto Sans",sans-serif;font-variant-numeric:tabular-nums}
main{max-width:1120px;margin:0 auto;padding:32px 24px 64px}
h1{font-size:24px;line-height:1.25;margin:0 0 4px;letter-spacing:-.015em}
h2{font-size:18px;margin:40px 0 12px;padding-top:16px;border-top:1px solid var(--line2)}
h3{font-size:14px;margin:24px 0 8px}
h1,h2,h3,.name,li,p,td,dd{overflow-wrap:anywhere}
p{margin:0 0 8px;max-width:110ch}
.muted,figcaption,small{color:var(--muted)}
.summary{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px 16px 12px 32px;margin:16px 0}
.summary li{margin:4px 0;max-width:120ch}
figure{margin:0 0 16px;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px}
figcaption{font-size:13px;margin-bottom:8px}
.plot{overflow-x:auto}
svg{display:block;width:100%;height:auto}
.plot>svg{min-width:300px}
figure:not(.map) .plot>svg{min-width:620px}
.grid{stroke:var(--line)}
.tick{font:11px system-ui,"Segoe UI","Noto Sans",sans-serif;fill:var(--muted)}
.mid{text-anchor:middle}.end{text-anchor:end}
.raw,.smooth,.valid{fill:none;stroke:var(--run)}
.raw{stroke-opacity:.25}.smooth{stroke-width:2}.valid{stroke-dasharray:2 4}
.dash1 .smooth{stroke-dasharray:8 3}.dash2 .smooth{stroke-dasharray:2 2}
.dot{fill:var(--card);stroke:var(--run);stroke-width:1.8}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:4px 20px;margin:8px 0;padding:0;font-size:13px}
.legend li{display:flex;align-items:center;gap:8px;min-width:0}
.key{width:30px;flex:none}
.maps{display:grid;gap:12px;grid-template-columns:minmax(0,1fr)}
@media (min-width:860px){.maps.of2{grid-template-columns:repeat(2,minmax(0,1fr))}.maps.of3{grid-template-columns:repeat(3,minmax(0,1fr))}}
.maps figure{margin:0}
.scale{width:224px;margin-top:8px}
.bar{fill:var(--accent);fill-opacity:.75}
.strike,.outline{fill:none;stroke:var(--ink);vector-effect:non-scaling-stroke}
.strike{stroke:var(--muted)}.outline{stroke-width:1.6}.outline.under{stroke:var(--card);stroke-width:4.4}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:13px}
caption{text-align:left;color:var(--muted);font-size:13px;padding-bottom:6px}
th,td{padding:5px 10px;text-align:right;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:500;color:var(--muted)}
thead th{vertical-align:bottom}
th[scope=row]{color:var(--ink)}
th:first-child,td:first-child{text-align:left}
th.name,td.name{min-width:14ch;max-width:44ch}
.left th,.left td{text-align:left}
td.code,code,pre{font:12px/1.5 ui-monospace,"SF Mono",Consolas,"DejaVu Sans Mono",monospace}
.narrow{max-width:640px}
.dense{font-size:12px}.dense th,.dense td{padding:2px 6px}
abbr{text-decoration:none;margin-left:2px}
details{margin-top:8px}
summary{cursor:pointer;color:var(--accent);font-size:13px}
summary:focus-visible,.scroll:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
pre{margin:8px 0;padding:12px;background:var(--card);border:1px solid var(--line);border-radius:8px;white-space:pre-wrap;overflow-wrap:anywhere}
.findings{list-style:none;margin:0;padding:0}
.findings li{border-left:3px solid var(--info);padding:2px 0 2px 12px;margin:8px 0;max-width:120ch}
.findings .warning{border-color:var(--warn)}.findings .good{border-color:var(--ok)}
.findings b{margin-right:4px}
.findings .warning b{color:var(--warn)}.findings .good b{color:var(--ok)}.findings .info b{color:var(--info)}
.findings small{display:block;font-size:13px}
@page{margin:14mm}
@media print{body,table,caption,figcaption,.legend,.findings small,pre{font-size:10.5px}body{background:#fff}main{max-width:none;padding:0}figure,tr,.findings li{break-inside:avoid}h2,h3{break-after:avoid}details:not([open]):not(.kept){display:none}.kept::details-content{content-visibility:visible;block-size:auto}.maps.of2{grid-template-columns:repeat(2,minmax(0,1fr))}.maps.of3{grid-template-columns:repeat(3,minmax(0,1fr))}*{print-color-adjust:exact}}
`;
