import { parseReference } from '../images/reference.ts';
import { invalidRequest } from '../platform/errors.ts';

/** Also what image names are made of: components of letters, digits, `_`, `.`, `-` and `:`, divided by single slashes. */
const NAME = /^[a-zA-Z0-9_.\-:]+(\/[a-zA-Z0-9_.\-:]+)*(@sha256:[a-f0-9]{64})?$/;
/** An index entry of PostgreSQL has room for 2,700 bytes. */
const MAX_NAME_LENGTH = 1024;

export function checkSnapshotName(name: string): void {
  // First, because the pattern runs out of stack on megabytes.
  if (name.length > MAX_NAME_LENGTH) {
    throw invalidRequest(`Snapshot name is too long. It may have at most ${MAX_NAME_LENGTH} characters`);
  }
  if (!NAME.test(name)) {
    throw invalidRequest('Invalid snapshot name format. May contain letters, digits, dots, colons, and dashes');
  }
}

/** The messages are those that Daytona's clients know, in its order; what Docker would not accept either comes last. */
export function checkImageName(image: string): void {
  if (image.includes('@sha256:')) {
    const [name, digest] = image.split('@sha256:', 2);
    if (!name || !/^[a-f0-9]{64}$/.test(digest ?? '')) {
      throw invalidRequest('Invalid digest format. Must be image@sha256:64_hex_characters');
    }
    parseReference(image);
    return;
  }
  // A colon before the last slash is a registry's port and no tag.
  const lastComponent = image.slice(image.lastIndexOf('/') + 1);
  if (!lastComponent.includes(':') || image.endsWith(':')) {
    throw invalidRequest('Image name must include a tag (e.g., ubuntu:22.04) or digest (@sha256:...)');
  }
  if (image.endsWith(':latest')) throw invalidRequest('Images with tag ":latest" are not allowed');
  // What is too long for the pattern is too long for `parseReference`, which says so.
  if (image.length <= MAX_NAME_LENGTH && !NAME.test(image)) {
    throw invalidRequest(
      'Invalid image name format. Must be lowercase, may contain digits, dots, dashes, and single slashes between components',
    );
  }
  parseReference(image);
}
