import { invalidRequest } from '../../../platform/errors.ts';

/** `name::address` hands the address to any program called `git-remote-name`; `ext::` runs a command line. */
const REMOTE_HELPER = /^[A-Za-z0-9][A-Za-z0-9+.-]*::/;
const CONTROL = /\p{Cc}/u;
/** What git refuses in the name of a reference (git-check-ref-format), and what would make a refspec of a name. */
const NOT_IN_REF = /[\p{Cc} ~^:?*[\\]|\.\.|@\{|\/\/|\/\.|\.lock(?:\/|$)|^[-./+]|[./]$|^@$/u;

/** Nothing that a client names may be read by git as an option or as another transport. */
export function checkUrl(url: string): void {
  if (url.trim() === '') throw invalidRequest('url is required');
  if (url.startsWith('-') || CONTROL.test(url)) throw invalidRequest('The URL is not one that git can take');
  if (REMOTE_HELPER.test(url)) {
    throw invalidRequest('The transport of the URL is not allowed', {
      hint: 'Use https, http, ssh, git, or a path in the sandbox.',
    });
  }
}

export function checkBranch(name: string): void {
  if (name === '') throw invalidRequest('branch is required');
  if (NOT_IN_REF.test(name)) throw invalidRequest(`${JSON.stringify(name)} is no name of a branch`);
}

/** A branch, a tag, a commit, or an expression such as `HEAD~1`. */
export function checkRevision(revision: string): void {
  if (revision === '' || revision.startsWith('-') || CONTROL.test(revision)) {
    throw invalidRequest(`${JSON.stringify(revision)} is no revision`);
  }
}

/** The name of a remote, and not an address: addresses would show their passwords on git's command line. */
export function checkRemote(name: string): void {
  if (NOT_IN_REF.test(name)) throw invalidRequest(`${JSON.stringify(name)} is no name of a remote`);
}

export function checkFiles(files: readonly string[]): void {
  if (files.length === 0) throw invalidRequest('files are required');
  if (files.some((file) => file === '' || file.includes('\0'))) {
    throw invalidRequest('The name of a file must not be empty or contain NUL');
  }
}

export function checkConfigKey(key: string): void {
  if (!/^[A-Za-z][A-Za-z0-9-]*\.(.+\.)?[A-Za-z][A-Za-z0-9-]*$/.test(key) || CONTROL.test(key)) {
    throw invalidRequest(`${JSON.stringify(key)} is no key of git's configuration, such as user.name`);
  }
}

export function checkNoNul(what: string, value: string): void {
  if (value.includes('\0')) throw invalidRequest(`The ${what} must not contain NUL`);
}
