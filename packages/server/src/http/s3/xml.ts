export const NAMESPACE = 'http://s3.amazonaws.com/doc/2006-03-01/';

/** Names and what stands between their tags; undefined ones are left out, lists are repeated. */
export interface XmlContent {
  readonly [name: string]: XmlValue | readonly XmlContent[];
}
type XmlValue = string | number | boolean | XmlContent | undefined;

export function xmlDocument(root: string, content: XmlContent, options: { namespace: boolean }): string {
  const namespace = options.namespace ? ` xmlns="${NAMESPACE}"` : '';
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${root}${namespace}>${elements(content)}</${root}>`;
}

function elements(content: XmlContent): string {
  return Object.entries(content)
    .map(([name, value]) => {
      if (value === undefined) return '';
      const all: readonly XmlValue[] = isList(value) ? value : [value];
      return all.map((each) => `<${name}>${text(each)}</${name}>`).join('');
    })
    .join('');
}

const isList = (value: XmlContent[string]): value is readonly XmlContent[] => Array.isArray(value);

function text(value: XmlValue): string {
  if (typeof value === 'object') return elements(value);
  return (
    String(value)
      .replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`)
      // What XML 1.0 has no way to say.
      .replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '\ufffd')
  );
}
