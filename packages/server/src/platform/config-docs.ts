import { z } from 'zod';
import { configSchema } from './config-schema.ts';
import { listSettings, type Setting, unwrap } from './config-settings.ts';

const INTRODUCTION = `# Configuration

Every setting has a default; Darkroom runs without any. A setting can be given in three places; the first that has it wins:

1. the command line: \`--state-dir DIR\`, \`--listen HOST:PORT\`
2. the environment: the variable in the table; lists and maps as JSON. \`DATABASE_URL\` is \`database.url\`.
   An empty variable counts as not set.
3. the file that \`--config FILE\` (or \`DARKROOM_CONFIG\`) names, in YAML:

   \`\`\`yaml
   listen: 0.0.0.0:3986
   registries:
     mirrors:
       docker.io: ["https://mirror.example"]
   \`\`\`

A setting that does not exist, or a value that is not allowed, ends the start with the setting's name, where it came from
and what is allowed.
`;

/** The text of `docs/configuration.md`; a test holds that the file has it. */
export function configurationPage(): string {
  const groups = Map.groupBy(listSettings(), (setting) => (setting.path.length > 1 ? (setting.path[0] ?? '') : ''));
  const sections = [...groups].map(([group, settings]) => {
    const title = group === '' ? 'General' : `\`${group}\``;
    const about = group === '' ? undefined : groupDescription(group);
    const rows = settings.map(rowOf);
    const table = ['| setting | variable | default | meaning |', '| --- | --- | --- | --- |', ...rows].join('\n');
    return [`## ${title}`, ...(about === undefined ? [] : [about]), table].join('\n\n');
  });
  return `${INTRODUCTION}\n${sections.join('\n\n')}\n`;
}

function groupDescription(group: string): string | undefined {
  const schema = Object.entries(configSchema.shape).find(([key]) => key === group)?.[1];
  return schema?.description;
}

function rowOf(setting: Setting): string {
  const allowed = limitsOf(unwrap(setting.schema));
  const meaning = [setting.description, ...(allowed === undefined ? [] : [allowed])].join(' ');
  return `| ${[`\`${setting.name}\``, `\`${setting.variable}\``, defaultOf(setting), meaning.replaceAll('|', '\\|')].join(' | ')} |`;
}

function defaultOf(setting: Setting): string {
  const value = setting.schema.safeParse(undefined).data;
  return value === undefined ? '–' : `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``;
}

function limitsOf(type: z.ZodType): string | undefined {
  if (type instanceof z.ZodEnum) return `One of ${type.options.map((option) => `\`${option}\``).join(', ')}.`;
  if (!(type instanceof z.ZodNumber)) return undefined;
  const { minValue, maxValue } = type;
  const min = minValue !== null && minValue > 0 ? `at least ${minValue}` : undefined;
  const max = maxValue !== null && maxValue < Number.MAX_SAFE_INTEGER ? `at most ${maxValue}` : undefined;
  const limits = [min, max].filter((limit) => limit !== undefined).join(', ');
  return limits === '' ? undefined : `(${limits})`;
}
