import type { Add, Copy } from '../dockerfile/instructions.ts';
import { content, type Scope, word } from '../dockerfile/scope.ts';
import type { TransferInstruction } from './transfer-types.ts';

/** COPY or ADD with the variables of its place filled in. */
export function transferInstruction(instruction: Copy | Add, scope: Scope): TransferInstruction {
  const expand = (text: string) => word(scope, instruction.line, text);
  const optional = (text: string | undefined) => {
    const expanded = text === undefined ? '' : expand(text);
    return expanded === '' ? undefined : expanded;
  };
  return {
    kind: instruction.kind,
    sources: instruction.sources.map(expand),
    target: expand(instruction.target),
    heredocs: instruction.heredocs.map((heredoc) => ({
      name: heredoc.name,
      content: heredoc.expand ? content(scope, instruction.line, heredoc.content) : heredoc.content,
    })),
    chown: optional(instruction.chown),
    chmod: optional(instruction.chmod),
    exclude: instruction.exclude.map(expand),
    link: instruction.link,
    parents: instruction.kind === 'copy' && instruction.parents,
    unpack: instruction.kind === 'add' ? instruction.unpack : false,
  };
}
