/** What a run did and found. */
export interface Report {
  seed: string;
  cycles: number;
  seconds: number;
  operations: Map<string, { answered: number; unanswered: number }>;
  kills: Map<string, number>;
  states: Map<string, number>;
  violations: { cycle: number; text: string }[];
  /** How long a cycle's work, restart and checks took, in ms. */
  times: { work: number[]; restart: number[]; check: number[] };
}

export function emptyReport(seed: string): Report {
  return {
    seed,
    cycles: 0,
    seconds: 0,
    operations: new Map(),
    kills: new Map(),
    states: new Map(),
    violations: [],
    times: { work: [], restart: [], check: [] },
  };
}

export function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/** As markdown. */
export function renderReport({ seed, cycles, seconds, operations, kills, states, violations, times }: Report): string {
  const answered = [...operations.values()].reduce((sum, { answered }) => sum + answered, 0);
  const unanswered = [...operations.values()].reduce((sum, { unanswered }) => sum + unanswered, 0);
  const total = [...kills.values()].reduce((sum, number) => sum + number, 0);
  return [
    '# A run of the torture loop',
    '',
    `\`npm run torture -- --cycles ${cycles} --seed ${seed}\`: ${cycles} cycles in ${Math.round(seconds)} s (${(seconds / Math.max(1, cycles)).toFixed(2)} s each), ` +
      `${total} kills, ${answered} operations answered, ${unanswered} cut off by a kill, **${violations.length} violations**.`,
    '',
    '| part of a cycle | median | most |',
    '| --- | --- | --- |',
    ...Object.entries(times).map(
      ([part, values]) => `| ${part} | ${median(values)} ms | ${Math.max(0, ...values)} ms |`,
    ),
    '',
    ...table(
      'operation',
      ['answered', 'cut off'],
      [...operations].map(([kind, { answered, unanswered }]) => [kind, answered, unanswered]),
    ),
    ...table('killed', ['times'], [...kills]),
    ...table('state seen by the checker', ['times'], [...states]),
    ...(violations.length === 0
      ? []
      : ['## Violations', '', ...violations.map(({ cycle, text }) => `- cycle ${cycle}: ${text}`), '']),
  ].join('\n');
}

function table(head: string, columns: string[], rows: [string, ...number[]][]): string[] {
  if (rows.length === 0) return [];
  return [
    `| ${[head, ...columns].join(' | ')} |`,
    `| ${[head, ...columns].map(() => '---').join(' | ')} |`,
    ...rows.sort(([a], [b]) => (a < b ? -1 : 1)).map((row) => `| ${row.join(' | ')} |`),
    '',
  ];
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
