import { jsonList } from './arguments.ts';
import { type Directives, type EscapeChar, readDirectives } from './directives.ts';
import { type Heredoc, heredocMarks, withoutLeadingTabs } from './heredoc.ts';
import { syntaxError } from './syntax-error.ts';

/** One instruction as it stands in the text: continued lines joined, comments taken out. */
export interface Statement {
  /** Of its first character, counted from 1. */
  line: number;
  endLine: number;
  /** In lower case. */
  keyword: string;
  /** Behind the keyword, without blanks at both ends. */
  rest: string;
  heredocs: Heredoc[];
}

/** A Dockerfile is for people; past this something else was sent. */
const MAX_BYTES = 1024 * 1024;
/** Far more than an image can have layers. */
const MAX_INSTRUCTIONS = 2000;
const WITH_HEREDOCS = new Set(['add', 'copy', 'run']);

export interface StatementList {
  directives: Directives;
  statements: Statement[];
}

export function readStatements(text: string): StatementList {
  if (Buffer.byteLength(text) > MAX_BYTES) throw syntaxError(1, `the file is larger than ${MAX_BYTES} bytes`);
  if (text.includes('\0')) throw syntaxError(lineOf(text, text.indexOf('\0')), 'there is a NUL character in it');
  const raw = text.replace(/^\uFEFF/, '').split('\n');
  const lines = raw.map((line) => line.replace(/\r$/, ''));
  const directives = readDirectives(lines);
  const continued = continuation(directives.escapeChar);
  const statements: Statement[] = [];

  let at = 0;
  while (at < lines.length) {
    const first = lines[at] ?? '';
    if (isSkipped(first)) {
      at += 1;
      continue;
    }
    const line = at + 1;
    let joined = '';
    for (;;) {
      const current = lines[at] ?? '';
      at += 1;
      // Inside of a continued instruction too, comments and empty lines are as if they were not there.
      if (joined !== '' && isSkipped(current)) {
        if (at >= lines.length) break;
        continue;
      }
      const { text: part, goesOn } = continued(joined === '' ? current.trimStart() : current);
      joined += part;
      if (!goesOn || at >= lines.length) break;
    }
    if (joined.trim() === '') continue;
    const { keyword, rest } = splitKeyword(joined);
    const heredocs: Heredoc[] = [];
    if (opensHeredocs(keyword, rest)) {
      for (const mark of heredocMarks(joined, directives.escapeChar)) {
        const from = at;
        const isEnd = (candidate: string) => (mark.chomp ? candidate.replace(/^\t+/, '') : candidate) === mark.name;
        while (at < lines.length && !isEnd(lines[at] ?? '')) at += 1;
        if (at >= lines.length)
          throw syntaxError(
            line,
            `the heredoc ${mark.name} has no end`,
            `End it by a line that is ${mark.name} alone.`,
          );
        const content = raw
          .slice(from, at)
          .map((each) => `${each}\n`)
          .join('');
        heredocs.push({ ...mark, content: mark.chomp ? withoutLeadingTabs(content) : content });
        at += 1;
      }
    }
    statements.push({ line, endLine: at, keyword, rest, heredocs });
    if (statements.length > MAX_INSTRUCTIONS)
      throw syntaxError(line, `there are more than ${MAX_INSTRUCTIONS} instructions`);
  }
  return { directives, statements };
}

function splitKeyword(joined: string): { keyword: string; rest: string } {
  const [, keyword = '', rest = ''] = /^(\S+)([\s\S]*)$/.exec(joined.trim()) ?? [];
  return { keyword: keyword.toLowerCase(), rest: rest.trim() };
}

/** The JSON form has no heredocs: what looks like one there is an argument. */
function opensHeredocs(keyword: string, rest: string): boolean {
  if (jsonList(rest) !== undefined) return false;
  if (keyword !== 'onbuild') return WITH_HEREDOCS.has(keyword);
  // A trigger is no ONBUILD itself.
  const trigger = splitKeyword(rest);
  return WITH_HEREDOCS.has(trigger.keyword) && jsonList(trigger.rest) === undefined;
}

function isSkipped(line: string): boolean {
  const trimmed = line.trim();
  return trimmed === '' || trimmed.startsWith('#');
}

/** A doubled escape character at the end is a character, and no continuation. */
function continuation(escapeChar: EscapeChar): (line: string) => { text: string; goesOn: boolean } {
  const quoted = escapeChar === '\\' ? '\\\\' : '`';
  const pattern = new RegExp(`(^|[^${quoted}])${quoted}[ \\t]*$`);
  return (line) => {
    const match = pattern.exec(line);
    if (match === null) return { text: line, goesOn: false };
    return { text: line.slice(0, match.index) + (match[1] ?? ''), goesOn: true };
  };
}

function lineOf(text: string, index: number): number {
  return text.slice(0, index).split('\n').length;
}
