import { expect, test } from 'vitest';
import { descriptorLimit } from '../platform/descriptor-limit.ts';
import { createFront } from './front.ts';

test('however many connect, descriptors are left for what the server does', () => {
  const server = createFront({}, undefined).createServer(() => {});
  expect(server.maxConnections).toBeGreaterThan(100);
  expect(2 * server.maxConnections).toBeLessThan(descriptorLimit());
});
