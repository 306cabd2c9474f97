import { describe, expect, test } from 'vitest';
import { addressPlan } from './address-plan.ts';

const TAG = '0a1b2c3d';

describe('the address plan', () => {
  test('gives each sandbox a /30 with the host’s end first', () => {
    const plan = addressPlan('10.213.0.0/16', TAG);
    expect(plan.size).toBe(16_384);
    expect(plan.block(0)).toEqual({
      index: 0,
      hostInterface: 'dr0a1b2c3d0',
      gateway: '10.213.0.1',
      address: '10.213.0.2',
    });
    expect(plan.block(16_383)).toMatchObject({
      hostInterface: 'dr0a1b2c3d3fff',
      gateway: '10.213.255.253',
      address: '10.213.255.254',
    });
  });

  test('begins at the range’s first address, whatever address names it', () => {
    expect(addressPlan('10.213.77.9/16', TAG).cidr).toBe('10.213.0.0/16');
    expect(addressPlan('192.168.255.255/30', TAG).block(0).gateway).toBe('192.168.255.253');
    expect(addressPlan('223.255.255.0/24', TAG).block(63).address).toBe('223.255.255.254');
  });

  test('keeps interface names within the kernel’s 15 characters in the largest range', () => {
    const plan = addressPlan('10.0.0.0/8', TAG);
    expect(plan.block(plan.size - 1).hostInterface).toHaveLength(15);
  });

  test('knows its own interfaces by name and no others', () => {
    const plan = addressPlan('10.213.0.0/16', TAG);
    for (const index of [0, 9, 10, 255, 16_383]) expect(plan.indexOf(plan.block(index).hostInterface)).toBe(index);
    for (const name of ['eth0', 'dr0a1b2c3e0', 'dr0a1b2c3d', 'dr0a1b2c3d00', 'dr0a1b2c3dxy', 'dr0a1b2c3d-1']) {
      expect(plan.indexOf(name), name).toBeUndefined();
    }
  });

  test.each(['10.213.0.0', '10.213.0.0/31', '10.213.0.0/7', '256.0.0.0/16', 'fd00::/64', ''])('refuses %j', (cidr) => {
    expect(() => addressPlan(cidr, TAG)).toThrow(/network\.cidr/);
  });

  test('refuses a block that the range does not have', () => {
    const plan = addressPlan('10.213.0.0/29', TAG);
    expect(() => plan.block(2)).toThrow(/outside of 10\.213\.0\.0\/29/);
    expect(() => plan.block(-1)).toThrow();
  });
});
