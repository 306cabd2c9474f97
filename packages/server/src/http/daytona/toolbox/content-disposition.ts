/**
 * The header with names as they are. Clients compare file names exactly; what a quoted string cannot carry in every parser goes
 * into `filename*` (RFC 8187), which they read first.
 */
export function contentDisposition(type: string, parameters: { name?: string; filename: string }): string {
  const { name, filename } = parameters;
  const parts = [type];
  if (name !== undefined) parts.push(`name="${name}"`);
  parts.push(`filename="${quoted(filename)}"`);
  if (!/^[\x20-\x7e]*$/.test(filename) || /["\\%]/.test(filename)) parts.push(`filename*=UTF-8''${encoded(filename)}`);
  return parts.join('; ');
}

/**
 * Older Python clients know no `filename*` and read the header as UTF-8, then its Latin-1 bytes as UTF-8 once more: encoded
 * twice, a name arrives there as it is.
 */
const quoted = (text: string) =>
  Buffer.from(text.toWellFormed())
    .toString('latin1')
    // biome-ignore lint/suspicious/noControlCharactersInRegex: a control character could end the header
    .replace(/[\x00-\x1f\x7f]/g, '_')
    .replace(/["\\]/g, '\\$&');

const encoded = (text: string) =>
  encodeURIComponent(text.toWellFormed()).replace(
    /['()*]/g,
    (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`,
  );
