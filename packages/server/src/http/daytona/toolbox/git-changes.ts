import {
  gitAddRemoteSchema,
  gitAddSchema,
  gitAuthenticateSchema,
  gitBranchSchema,
  gitCheckoutSchema,
  gitCloneSchema,
  gitCommitResponseSchema,
  gitCommitSchema,
  gitConfigureUserSchema,
  gitInitSchema,
  gitPullSchema,
  gitPushSchema,
  gitResetSchema,
  gitRestoreSchema,
  gitSetConfigSchema,
} from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { requirePermission } from '../../auth-plugin.ts';
import { type ToolboxRouteDeps, toolboxParams } from './common.ts';
import { gitCall } from './git.ts';

type Git = ToolboxRouteDeps['toolbox']['git'];
type Call = ReturnType<typeof gitCall>;

/** One kind of call: the body in the wire's names, what it does, and how success is told. */
function change<S extends z.ZodType>(
  summary: string,
  path: string,
  body: S,
  run: (git: Git, call: Call, body: z.output<S>) => Promise<void>,
  options: { method?: 'POST' | 'DELETE'; status?: 200 | 201 | 204 } = {},
) {
  const { method = 'POST', status = 200 } = options;
  return ({ toolbox }: ToolboxRouteDeps): FastifyPluginAsyncZod =>
    async (app) => {
      app.route({
        method,
        url: `/:sandboxId/git/${path}`,
        onRequest: requirePermission('write:sandboxes'),
        schema: { summary, tags: ['toolbox'], params: toolboxParams, body, response: { [status]: z.void() } },
        handler: async (request, reply) => {
          const { sandboxId } = toolboxParams.parse(request.params);
          await run(toolbox.git, gitCall(request, reply, sandboxId), body.parse(request.body));
          return reply.code(status).send();
        },
      });
    };
}

const CHANGES = [
  change('Clone a repository', 'clone', gitCloneSchema, (git, call, { commit_id, insecure_skip_tls, ...body }) =>
    git.clone(call, { ...body, commitId: commit_id, insecureSkipTls: insecure_skip_tls }),
  ),
  change(
    'Make a repository',
    'init',
    gitInitSchema,
    (git, call, { initial_branch: initialBranch, ...body }) => git.init(call, { ...body, initialBranch }),
    { status: 201 },
  ),
  change('Stage files', 'add', gitAddSchema, (git, call, body) => git.add(call, body)),
  change('Take changes back to a commit', 'reset', gitResetSchema, (git, call, body) => git.reset(call, body)),
  change('Restore files', 'restore', gitRestoreSchema, (git, call, body) => git.restore(call, body)),
  change('Make a branch', 'branches', gitBranchSchema, (git, call, body) => git.createBranch(call, body), {
    status: 201,
  }),
  change('Delete a branch', 'branches', gitBranchSchema, (git, call, body) => git.deleteBranch(call, body), {
    method: 'DELETE',
    status: 204,
  }),
  change('Check out a branch', 'checkout', gitCheckoutSchema, (git, call, body) => git.checkout(call, body)),
  change('Push', 'push', gitPushSchema, (git, call, { set_upstream: setUpstream, ...body }) =>
    git.push(call, { ...body, setUpstream }),
  ),
  change('Pull', 'pull', gitPullSchema, (git, call, body) => git.pull(call, body)),
  change('Add a remote', 'remotes', gitAddRemoteSchema, (git, call, body) => git.addRemote(call, body), {
    status: 201,
  }),
  change('Set a value', 'config', gitSetConfigSchema, (git, call, body) => git.setConfig(call, body)),
  change('Set who commits', 'config/user', gitConfigureUserSchema, (git, call, body) => git.configureUser(call, body)),
  change('Store credentials', 'credentials', gitAuthenticateSchema, (git, call, body) => git.authenticate(call, body)),
];

export function gitChangeRoutes(deps: ToolboxRouteDeps): FastifyPluginAsyncZod {
  return async (app) => {
    for (const route of CHANGES) await app.register(route(deps));
    app.post(
      '/:sandboxId/git/commit',
      {
        onRequest: requirePermission('write:sandboxes'),
        schema: {
          summary: 'Commit what is staged',
          tags: ['toolbox'],
          params: toolboxParams,
          body: gitCommitSchema,
          response: { 200: gitCommitResponseSchema },
        },
      },
      async (request, reply) => {
        const { allow_empty: allowEmpty, ...body } = request.body;
        const call = gitCall(request, reply, request.params.sandboxId);
        return { hash: await deps.toolbox.git.commit(call, { ...body, allowEmpty }) };
      },
    );
  };
}
