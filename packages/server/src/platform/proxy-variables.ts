const NAMES: ReadonlySet<string> = new Set(['http_proxy', 'https_proxy', 'ftp_proxy', 'all_proxy', 'no_proxy']);

/** The variables by which programs find their way out, as they are set here. Each program reads another spelling. */
export function proxyVariables(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) =>
      value !== undefined && value !== '' && NAMES.has(name.toLowerCase()) ? [[name, value]] : [],
    ),
  );
}
