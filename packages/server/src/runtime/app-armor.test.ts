import { expect, test } from 'vitest';
import { APP_ARMOR_POLICY, hasAppArmor, loadAppArmor } from './app-armor.ts';

test('the policy denies what namespaces and the filter deny, and lets the host end its processes', () => {
  for (const rule of ['deny mount,', 'deny umount,', 'deny pivot_root,', 'deny /sys/** wklx,', 'peer=unconfined']) {
    expect(APP_ARMOR_POLICY).toContain(rule);
  }
});

test('a kernel without AppArmor is no failure', async ({ skip }) => {
  if (await hasAppArmor()) skip();
  expect(await loadAppArmor()).toEqual({ state: 'absent' });
});
