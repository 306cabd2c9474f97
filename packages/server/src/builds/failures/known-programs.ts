import type { Installer } from './hint-rule.ts';

/** Packages of programs that Dockerfiles use without installing them; a single name is the same everywhere. */
const PACKAGES: Readonly<Record<string, string | Record<Installer, string>>> = {
  bash: 'bash',
  bunzip2: 'bzip2',
  bzip2: 'bzip2',
  cargo: 'cargo',
  cc: { apt: 'build-essential', apk: 'build-base', dnf: 'gcc' },
  cmake: 'cmake',
  composer: 'composer',
  curl: 'curl',
  dig: { apt: 'dnsutils', apk: 'bind-tools', dnf: 'bind-utils' },
  ffmpeg: 'ffmpeg',
  file: 'file',
  'g++': { apt: 'build-essential', apk: 'build-base', dnf: 'gcc-c++' },
  gcc: { apt: 'build-essential', apk: 'build-base', dnf: 'gcc' },
  git: 'git',
  go: { apt: 'golang', apk: 'go', dnf: 'golang' },
  gpg: { apt: 'gnupg', apk: 'gnupg', dnf: 'gnupg2' },
  ip: { apt: 'iproute2', apk: 'iproute2', dnf: 'iproute' },
  java: { apt: 'default-jre-headless', apk: 'openjdk21-jre-headless', dnf: 'java-21-openjdk-headless' },
  javac: { apt: 'default-jdk-headless', apk: 'openjdk21-jdk', dnf: 'java-21-openjdk-devel' },
  jq: 'jq',
  less: 'less',
  lsb_release: { apt: 'lsb-release', apk: 'lsb-release-minimal', dnf: 'lsb_release' },
  make: 'make',
  mvn: 'maven',
  mysql: { apt: 'default-mysql-client', apk: 'mysql-client', dnf: 'mysql' },
  nano: 'nano',
  node: { apt: 'nodejs', apk: 'nodejs', dnf: 'nodejs' },
  npm: { apt: 'npm', apk: 'npm', dnf: 'npm' },
  npx: { apt: 'npm', apk: 'npm', dnf: 'npm' },
  openssl: 'openssl',
  patch: 'patch',
  perl: 'perl',
  php: { apt: 'php-cli', apk: 'php', dnf: 'php-cli' },
  pip: { apt: 'python3-pip', apk: 'py3-pip', dnf: 'python3-pip' },
  pip3: { apt: 'python3-pip', apk: 'py3-pip', dnf: 'python3-pip' },
  'pkg-config': { apt: 'pkg-config', apk: 'pkgconf', dnf: 'pkgconf' },
  ping: { apt: 'iputils-ping', apk: 'iputils', dnf: 'iputils' },
  ps: { apt: 'procps', apk: 'procps', dnf: 'procps-ng' },
  psql: { apt: 'postgresql-client', apk: 'postgresql-client', dnf: 'postgresql' },
  python: { apt: 'python3 python-is-python3', apk: 'python3', dnf: 'python3' },
  python3: 'python3',
  rsync: 'rsync',
  ruby: 'ruby',
  rustc: { apt: 'rustc', apk: 'rust', dnf: 'rust' },
  sqlite3: { apt: 'sqlite3', apk: 'sqlite', dnf: 'sqlite' },
  ssh: { apt: 'openssh-client', apk: 'openssh-client', dnf: 'openssh-clients' },
  sudo: 'sudo',
  tar: 'tar',
  tree: 'tree',
  unzip: 'unzip',
  useradd: { apt: 'passwd', apk: 'shadow', dnf: 'shadow-utils' },
  vim: 'vim',
  wget: 'wget',
  which: { apt: 'debianutils', apk: 'which', dnf: 'which' },
  xz: { apt: 'xz-utils', apk: 'xz', dnf: 'xz' },
  zip: 'zip',
};

/** Programs that a package manager of a language brings, or an installer of their own. */
const OTHERWISE: Readonly<Record<string, string>> = {
  conda: 'Use an image that has it, such as continuumio/miniconda3.',
  corepack: 'It comes with Node.js up to 24: RUN npm install -g corepack.',
  gunicorn: 'RUN pip install gunicorn.',
  pnpm: 'RUN npm install -g pnpm.',
  poetry: 'RUN pip install poetry.',
  pytest: 'RUN pip install pytest.',
  rustup: 'RUN curl -sSf https://sh.rustup.rs | sh -s -- -y, and ENV PATH=/root/.cargo/bin:$PATH.',
  tsc: 'RUN npm install -g typescript, or npx tsc.',
  uv: 'RUN pip install uv.',
  uvicorn: 'RUN pip install uvicorn.',
  yarn: 'RUN npm install -g yarn.',
};

export function packageOf(program: string, installer: Installer): string | undefined {
  const known = Object.hasOwn(PACKAGES, program) ? PACKAGES[program] : undefined;
  return typeof known === 'object' ? known[installer] : known;
}

export function otherWay(program: string): string | undefined {
  return Object.hasOwn(OTHERWISE, program) ? OTHERWISE[program] : undefined;
}
