import { describe, expect, test } from 'vitest';
import { createAddressBlocks } from './address-blocks.ts';
import { addressPlan } from './address-plan.ts';

// Eight blocks; no interface of this machine has this tag.
const plan = addressPlan('10.213.0.0/27', 'ffffffff');
const indexes = (blocks: { index: number }[]) => blocks.map((block) => block.index);

describe('address blocks', () => {
  test('go round the range, so that one that is free again comes last', () => {
    const blocks = createAddressBlocks(plan, 6);
    expect(indexes(blocks.reserve(3))).toEqual([6, 7, 0]);
    blocks.free(6);
    expect(indexes(blocks.reserve(5))).toEqual([1, 2, 3, 4, 5]);
    expect(indexes(blocks.reserve(1))).toEqual([6]);
  });

  test('are given out once, and no more than there are', () => {
    const blocks = createAddressBlocks(plan, 0);
    expect(indexes(blocks.reserve(100))).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(blocks.reserve(1)).toEqual([]);
    expect(blocks.allUsed).toBe(true);
    blocks.free(3);
    expect(blocks.allUsed).toBe(false);
    expect(indexes(blocks.reserve(2))).toEqual([3]);
  });

  test('leave out what a running sandbox already has', () => {
    const blocks = createAddressBlocks(plan, 0);
    blocks.use(0);
    blocks.use(2);
    blocks.use(2);
    expect(indexes(blocks.reserve(2))).toEqual([1, 3]);
    expect(blocks.isUsed(2)).toBe(true);
  });
});
