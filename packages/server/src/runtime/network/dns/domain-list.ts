/** Whether a name is on a list of names and `*.name` for everything below one (not the name itself). */
export type DomainMatcher = (name: string) => boolean;

export function domainMatcher(list: readonly string[]): DomainMatcher {
  const names = new Set<string>();
  const parents = new Set<string>();
  for (const entry of list.map(normalName)) {
    if (entry.startsWith('*.')) parents.add(entry.slice(2));
    else names.add(entry);
  }
  return (name) => {
    const wanted = normalName(name);
    if (names.has(wanted)) return true;
    for (let dot = wanted.indexOf('.'); dot >= 0; dot = wanted.indexOf('.', dot + 1)) {
      if (parents.has(wanted.slice(dot + 1))) return true;
    }
    return false;
  };
}

/** DNS tells no upper from lower case, and a name may be written with the dot of the root. */
export function normalName(name: string): string {
  return name.toLowerCase().replace(/\.$/, '');
}

const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;

/** Names that hosts and services have; nothing that could be read in two ways on its way through the DNS. */
export function isHostName(name: string): boolean {
  return name.length <= 253 && name.split('.').every((label) => LABEL.test(label));
}
