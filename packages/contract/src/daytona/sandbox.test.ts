import { describe, expect, it } from 'vitest';
import { createSandboxSchema, listSandboxesQuerySchema, sandboxLabelsSchema } from './sandbox.ts';

describe('what the database cannot hold is refused', () => {
  it.each(['id', 'name', 'labels', 'cursor', 'states', 'snapshots', 'regionIds'])('in the filter %s', (field) => {
    expect(listSandboxesQuerySchema.safeParse({ [field]: 'a' }).success).toBe(true);
    expect(listSandboxesQuerySchema.safeParse({ [field]: 'a\0' }).success).toBe(false);
  });

  it('in one of many values of a filter', () => {
    expect(listSandboxesQuerySchema.safeParse({ states: ['started', '\0'] }).success).toBe(false);
  });

  it.each(['env', 'labels'])('in the names and values of %s', (field) => {
    const isTaken = (map: object) => createSandboxSchema.safeParse({ [field]: map }).success;
    expect([isTaken({ a: '😀' }), isTaken({ a: '\ud83d' }), isTaken({ '\ude00': 'b' })]).toEqual([true, false, false]);
  });

  it('in new labels', () => {
    expect(sandboxLabelsSchema.safeParse({ labels: { a: '\ud83d' } }).success).toBe(false);
  });
});
