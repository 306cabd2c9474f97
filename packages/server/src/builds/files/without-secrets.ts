/** A URL as errors may show it: without what stands before the last @ of its host, and without its query. */
export function withoutSecrets(text: string): string {
  return text
    .replace(/\/\/[^/?#\\]*@/, '//')
    .replace(/\?[^#]*/s, '?…')
    .slice(0, 200);
}
