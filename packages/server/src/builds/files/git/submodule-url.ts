import { invalidRequest } from '../../../platform/errors.ts';
import { withoutSecrets } from '../without-secrets.ts';

/** Where a submodule comes from; relative URLs are relative to the repository that has it, as git has it. Credentials stay with their host. */
export function submoduleRepository(parent: URL, url: string | undefined, path: string): URL {
  const refuse = (why: string) =>
    invalidRequest(`its submodule ${JSON.stringify(path.slice(0, 200))} ${why}`, {
      hint: 'Add ?submodules=false to leave submodules out, or clone in a RUN.',
    });
  if (url === undefined || url === '') throw refuse('has no URL in .gitmodules');
  if (url.startsWith('./') || url.startsWith('../')) {
    const base = new URL(parent);
    base.pathname = `${parent.pathname.replace(/\/+$/, '')}/`;
    return new URL(url.replace(/\/+$/, ''), base);
  }
  if (!/^https?:\/\//i.test(url) || !URL.canParse(url)) {
    throw refuse(`is at ${JSON.stringify(withoutSecrets(url))}, and only http and https are spoken`);
  }
  const found = new URL(url);
  if (parent.protocol === 'https:' && found.protocol !== 'https:')
    throw refuse('is not at an https URL, although the repository is');
  if (found.origin === parent.origin && found.username === '') {
    found.username = parent.username;
    found.password = parent.password;
  }
  return found;
}
