import { setTimeout as sleep } from 'node:timers/promises';
import { withDatabase } from '../../../support/database.ts';
import { Violation } from '../../requests.ts';
import { newSandbox, post, removeSandbox, resting } from '../asks.ts';
import type { Operation, Operations } from '../operation.ts';
import type { World } from '../world.ts';

const LIMIT_MS = 20_000;

/** Each event that was written arrives, in one delivery, though perhaps more than once. */
const deliver: Operation = async (world, strike) => {
  const { id: endpoint } = (
    await world.requests.api('/webhooks/endpoints', {
      method: 'POST',
      body: { url: world.receiver.url, eventTypes: ['sandbox.created', 'sandbox.state.updated'] },
      expect: [200, 201],
    })
  ).json();
  const name = world.newName('told');
  let id: string | undefined;
  await strike(async () => {
    ({ id } = await newSandbox(world, world.base, { name }));
  });
  const found = await resting(world, 'sandbox', id ?? name);
  const { id: told } = found ?? (await newSandbox(world, world.base, { name }));
  if (found?.state === 'error') await post(world, `/sandbox/${told}/start`);
  // The minute passes after which the attempt of a server that ended is made again.
  await withDatabase(world.darkroom.stateDir, (client) =>
    client.query("update webhook_deliveries set next_attempt_at = now() where state = 'pending'"),
  );
  await removeSandbox(world, told);
  const wanted = ['"sandbox.created"', '"newState":"started"', '"newState":"destroyed"'];
  const bodies = () =>
    [...world.receiver.arrived.values()].map(([body = '']) => body).filter((body) => body.includes(told));
  const deadline = performance.now() + LIMIT_MS;
  while (!wanted.every((part) => bodies().some((body) => body.includes(part)))) {
    if (performance.now() > deadline) throw new Violation(`not all events arrived:\n${bodies().join('\n')}`);
    await sleep(50);
  }
  for (const part of wanted) {
    const deliveries = bodies().filter((body) => body.includes(part));
    if (deliveries.length > 1) throw new Violation(`one event has several deliveries:\n${deliveries.join('\n')}`);
  }
  await world.requests.api(`/webhooks/endpoints/${endpoint}`, { method: 'DELETE', expect: [200, 204] });
};

export const webhooks = {
  'webhook.fanned-out': deliver,
  'webhook.claimed': deliver,
  'webhook.sent': deliver,
  'webhook.noted': deliver,
} satisfies Operations;

export type { World };
