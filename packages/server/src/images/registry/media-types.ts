export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';

const SCHEMA1 = [
  'application/vnd.docker.distribution.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v1+prettyjws',
];
const IMAGE_CONFIGS = ['application/vnd.oci.image.config.v1+json', 'application/vnd.docker.container.image.v1+json'];
const LAYERS = [
  'application/vnd.oci.image.layer.v1.tar',
  'application/vnd.oci.image.layer.v1.tar+gzip',
  'application/vnd.oci.image.layer.v1.tar+zstd',
  'application/vnd.docker.image.rootfs.diff.tar',
  'application/vnd.docker.image.rootfs.diff.tar.gzip',
  'application/vnd.docker.image.rootfs.diff.tar.zstd',
];

/** What a manifest request says it takes. Schema 1 is not asked for, but some registries send it all the same. */
export const ACCEPT_MANIFESTS = [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST].join(', ');

export const isIndexType = (type: string) => type === OCI_INDEX || type === DOCKER_LIST;
export const isManifestType = (type: string) => type === OCI_MANIFEST || type === DOCKER_MANIFEST;
export const isSchema1Type = (type: string) => SCHEMA1.includes(type);
export const isImageConfigType = (type: string) => IMAGE_CONFIGS.includes(type);
export const isLayerType = (type: string) => LAYERS.includes(type);
/** Layers that the registry does not have itself (Windows base images). */
export const isForeignLayerType = (type: string) =>
  type.includes('.layer.nondistributable.') || type.includes('.rootfs.foreign.');
