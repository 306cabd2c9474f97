import { readFileSync } from 'node:fs';

/** Names the time from one start of the machine to the next. What was written in an earlier one and never synced may be gone. */
export function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}
