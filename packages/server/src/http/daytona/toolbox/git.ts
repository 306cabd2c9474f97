import {
  gitBranchesSchema,
  gitConfigSchema,
  gitGetConfigQuerySchema,
  gitHistorySchema,
  gitPathQuerySchema,
  gitRemotesSchema,
  gitStatusSchema,
} from '@darkroom/contract';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { GitCaller, GitStatus } from '../../../sandboxes/toolbox/git/index.ts';
import { clientGone } from '../../client-gone.ts';
import { callerOf } from '../sandbox/requests.ts';
import { type ToolboxRouteDeps, toolboxParams } from './common.ts';

export function gitCall(request: Pick<FastifyRequest, 'auth'>, reply: FastifyReply, sandboxId: string): GitCaller {
  return { caller: callerOf(request.auth), sandboxId, signal: clientGone(reply) };
}

export function gitRoutes({ toolbox: { git } }: ToolboxRouteDeps): FastifyPluginAsyncZod {
  return async (app) => {
    const common = { tags: ['toolbox'], params: toolboxParams };
    const ofPath = { ...common, querystring: gitPathQuerySchema };
    app.get(
      '/:sandboxId/git/status',
      { schema: { ...ofPath, summary: 'What is changed', response: { 200: gitStatusSchema } } },
      async (request, reply) =>
        toStatusDto(await git.status(gitCall(request, reply, request.params.sandboxId), request.query)),
    );
    app.get(
      '/:sandboxId/git/history',
      { schema: { ...ofPath, summary: 'Commits, newest first', response: { 200: gitHistorySchema } } },
      async (request, reply) => git.history(gitCall(request, reply, request.params.sandboxId), request.query),
    );
    app.get(
      '/:sandboxId/git/branches',
      { schema: { ...ofPath, summary: 'Branches', response: { 200: gitBranchesSchema } } },
      async (request, reply) => git.branches(gitCall(request, reply, request.params.sandboxId), request.query),
    );
    app.get(
      '/:sandboxId/git/remotes',
      { schema: { ...ofPath, summary: 'Remotes', response: { 200: gitRemotesSchema } } },
      async (request, reply) => ({
        remotes: await git.remotes(gitCall(request, reply, request.params.sandboxId), request.query),
      }),
    );
    app.get(
      '/:sandboxId/git/config',
      {
        schema: {
          ...common,
          summary: "A value of git's configuration",
          querystring: gitGetConfigQuerySchema,
          response: { 200: gitConfigSchema },
        },
      },
      async (request, reply) => ({
        value: (await git.getConfig(gitCall(request, reply, request.params.sandboxId), request.query)) ?? null,
      }),
    );
  };
}

function toStatusDto(status: GitStatus) {
  return {
    currentBranch: status.branch,
    detached: status.detached,
    upstream: status.upstream,
    branchPublished: status.isPublished,
    ahead: status.ahead,
    behind: status.behind,
    fileStatus: status.files.map(({ path, from, staging, worktree }) => ({
      name: path,
      extra: from ?? '',
      staging,
      worktree,
    })),
  };
}
