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

const quoted = (text: string) => text.replace(/[^\x20-\x7e]/g, '_').replace(/["\\]/g, '\\$&');

const encoded = (text: string) =>
  encodeURIComponent(text.toWellFormed()).replace(
    /['()*]/g,
    (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`,
  );
