/** What is built. The first step of a Dockerfile has the run's mark, so that everything after it is new; the last has one of its own. */
export interface BuildScenario {
  name: string;
  title: string;
  dockerfile(marks: { first: string; last: string }): string;
  /** Bytes of the file `big` that its context has. */
  contextBytes: number;
  runs: number;
  /** No further run begins when it would end later than this. */
  budgetMs: number;
}

/** Settings of this machine that programs in steps need, the same for everyone. */
const FORWARDED = /^(PIP_INDEX_URL|PIP_EXTRA_INDEX_URL|PIP_TRUSTED_HOST|https?_proxy|no_proxy)$/i;

export function scenariosFor(base: string, env: NodeJS.ProcessEnv, quick: boolean): BuildScenario[] {
  const settings = Object.entries(env)
    .filter(([name]) => FORWARDED.test(name))
    .map(([name, value]) => `ENV ${name}=${JSON.stringify(value)}`);
  const of = (name: string, title: string, steps: readonly string[], options: Partial<BuildScenario> = {}) => ({
    name,
    title,
    contextBytes: 0,
    runs: 1,
    budgetMs: 60_000,
    ...options,
    dockerfile: ({ first, last }: { first: string; last: string }) =>
      [`FROM ${base}`, `RUN echo ${first} > /first`, ...steps, `RUN echo ${last} > /last`, ''].join('\n'),
  });
  const copyBytes = (quick ? 64 : 1024) * 2 ** 20;
  return [
    of('eight', 'Eight steps', EIGHT, quick ? { runs: 2 } : { runs: 5, budgetMs: 120_000 }),
    of(
      'forty',
      'Forty steps',
      Array.from({ length: 38 }, (_, index) => `RUN echo ${index} > /step-${index}`),
      quick ? {} : { runs: 2, budgetMs: 120_000 },
    ),
    of('packages', 'apt-get install, pip install', [...settings, ...PACKAGES], {
      runs: quick ? 1 : 2,
      budgetMs: 150_000,
    }),
    of('copy', `COPY of ${copyBytes / 2 ** 20} MiB`, ['COPY big /big'], {
      contextBytes: copyBytes,
      runs: quick ? 1 : 2,
      budgetMs: 150_000,
    }),
  ];
}

/** With the first and the last. */
const EIGHT = [
  'RUN mkdir -p /app/data && echo hello > /app/data/greeting',
  'RUN python3 -c "print(6 * 7)" > /app/answer',
  'RUN useradd --create-home worker',
  'RUN ln -s /app/data /data && chown -R worker /app',
  'RUN for i in 1 2 3 4 5 6 7 8 9 10; do echo $i > /app/$i; done',
  'RUN rm /app/3 && chmod 600 /app/4',
];

const PACKAGES = [
  'RUN apt-get update && apt-get install -y --no-install-recommends jq && rm -rf /var/lib/apt/lists/*',
  'RUN python -m pip install --no-cache-dir numpy',
];
