interface Issue {
  keyword: string;
  instancePath: string;
  message?: string;
  params: Record<string, unknown>;
}

const ZOD_DEFAULT = /^(Invalid (input|option|string|UUID|ISO|key|URL|number)|Too (small|big)|Unrecognized)/;

const BOUND = /^Too (?:small|big): expected (?:number|int) to be (>=|<=|>|<)(-?[\d.]+)$/;
const LENGTH = /^Too (?:small|big): expected (?:string|array) to have (>=|<=|>|<)(\d+) (characters|items)$/;
const BOUND_WORDS: Readonly<Record<string, string>> = {
  '>=': 'at least',
  '<=': 'at most',
  '>': 'more than',
  '<': 'less than',
};

/** More of them help nobody. */
const MAX_ISSUES = 20;

/** One sentence part for each issue, joined as the Daytona API joins them: `name must be a string, cpu must be …`. */
export function validationMessage(issues: readonly Issue[]): string {
  return issues.slice(0, MAX_ISSUES).map(describe).join(', ');
}

function describe(issue: Issue): string {
  const field = issue.instancePath.split('/').filter(Boolean).join('.') || 'body';
  const message = issue.message ?? 'is not valid';
  if (issue.keyword === 'invalid_type') {
    const expected = String(issue.params.expected);
    // zod tells a missing member only in its own words.
    if (message.endsWith('received undefined')) return `${field} is required and must be ${withArticle(expected)}`;
    return `${field} must be ${withArticle(expected)}`;
  }
  const length = LENGTH.exec(message);
  if (length !== null) {
    const [, relation = '', count = '', unit = ''] = length;
    if (relation === '>=' && count === '1') return `${field} must not be empty`;
    return `${field} must have ${BOUND_WORDS[relation] ?? relation} ${count} ${unit}`;
  }
  const bound = BOUND.exec(message);
  if (bound !== null) return `${field} must be ${BOUND_WORDS[bound[1] ?? ''] ?? bound[1]} ${bound[2]}`;
  // A schema that has a message of its own writes it in full.
  return ZOD_DEFAULT.test(message) ? `${field}: ${message}` : message;
}

function withArticle(zodType: string): string {
  const type = zodType === 'record' ? 'object' : zodType;
  return `${/^[aeio]/.test(type) ? 'an' : 'a'} ${type}`;
}
