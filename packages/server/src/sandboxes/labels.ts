import { invalidRequest } from '../platform/errors.ts';

const MAX_LABELS = 200;
const MAX_LENGTH = 4096;

export function checkLabels(labels: Readonly<Record<string, string>>): void {
  const entries = Object.entries(labels);
  if (entries.length > MAX_LABELS) throw invalidRequest(`A sandbox can have at most ${MAX_LABELS} labels`);
  for (const [key, value] of entries) {
    // PostgreSQL's text cannot hold NUL.
    if (`${key}${value}`.includes('\0')) throw invalidRequest('Labels must not contain NUL');
    if (key.length > MAX_LENGTH || value.length > MAX_LENGTH) {
      throw invalidRequest(`The label ${JSON.stringify(key.slice(0, 60))} is longer than ${MAX_LENGTH} characters`);
    }
  }
}

/** The filter of a list: a JSON object of strings, every one of which a sandbox must have. */
export function parseLabelFilter(text: string): Record<string, string> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw invalidRequest('Invalid labels JSON format', { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidRequest('Invalid labels JSON format: expected an object of strings');
  }
  const labels: Record<string, string> = {};
  for (const [key, entry] of Object.entries(value)) {
    if (typeof entry !== 'string') throw invalidRequest('Invalid labels JSON format: expected an object of strings');
    labels[key] = entry;
  }
  checkLabels(labels);
  return labels;
}
