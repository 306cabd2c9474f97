import type { LifecycleEventDto } from '@darkroom/contract';
import type { Darkroom } from './darkroom.ts';

/** Follows the events of the organization as a browser does: comes back with the id of the last one that it saw. */
export interface EventFollower {
  readonly events: LifecycleEventDto[];
  /** How often the stream was opened. */
  readonly connections: number;
  /** Resolves when an event that fits was seen, now or before. */
  until(fits: (event: LifecycleEventDto) => boolean): Promise<LifecycleEventDto>;
  close(): Promise<void>;
}

export async function followEvents(darkroom: Darkroom): Promise<EventFollower> {
  const closing = new AbortController();
  const events: LifecycleEventDto[] = [];
  let connections = 0;
  let lastId: string | undefined;
  let more = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();

  async function readOnce(): Promise<void> {
    const answer = await fetch(`${darkroom.url}/api/events`, {
      headers: {
        authorization: `Bearer ${darkroom.apiKey}`,
        accept: 'text/event-stream',
        ...(lastId === undefined ? {} : { 'last-event-id': lastId }),
      },
      signal: closing.signal,
    });
    if (answer.status !== 200 || answer.body === null) throw new Error(`the stream was refused: ${answer.status}`);
    connections++;
    let text = '';
    for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
      const blocks = (text + piece).split('\n\n');
      text = blocks.pop() ?? '';
      for (const block of blocks) take(block);
    }
  }

  function take(block: string): void {
    const fields = new Map(
      block.split('\n').map((line) => [line.split(': ', 1)[0], line.slice(line.indexOf(': ') + 2)]),
    );
    lastId = fields.get('id') ?? lastId;
    const name = fields.get('event');
    if (name === 'open') begun.resolve();
    if (name === undefined || name === 'open') return;
    events.push(JSON.parse(fields.get('data') ?? ''));
    more.resolve();
  }

  async function run(): Promise<void> {
    while (!closing.signal.aborted) {
      await readOnce().catch(() => {});
      if (!closing.signal.aborted) await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  const running = run();
  await begun.promise;

  return {
    events,
    get connections() {
      return connections;
    },
    async until(fits) {
      for (;;) {
        const found = events.find(fits);
        if (found !== undefined) return found;
        more = Promise.withResolvers();
        await more.promise;
      }
    },
    async close() {
      closing.abort();
      await running;
    },
  };
}
