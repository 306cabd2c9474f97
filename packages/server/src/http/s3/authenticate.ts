import type { UploadIdentity, UploadKeys } from '../../tenancy/upload-credentials.ts';
import { S3Error } from './s3-error.ts';
import { readSignature, type Signature, type SignedRequest, verifySignature } from './signature.ts';

export interface Signer extends UploadIdentity {
  signature: Signature;
}

/**
 * Who signed the request. `publicHost` is what clients sign where they reach the server through something that puts another name
 * into the Host header.
 */
export function authenticate(keys: UploadKeys, request: SignedRequest, publicHost: string | undefined): Signer {
  const signature = readSignature(request);
  const { accessKey, sessionToken } = signature;
  const identity = sessionToken === undefined ? 'invalid' : keys.identify(accessKey, sessionToken);
  if (identity === 'expired') throw new S3Error('ExpiredToken', 'The provided token has expired.');
  if (identity === 'invalid') {
    throw sessionToken === undefined
      ? new S3Error('InvalidAccessKeyId', 'The access key does not exist here; it comes with a session token.')
      : new S3Error('InvalidToken', 'The provided token is malformed or otherwise invalid.');
  }
  const verify = (host: string | undefined) =>
    verifySignature({ ...request, headers: { ...request.headers, host } }, signature, identity.secret, Date.now());
  try {
    verify(request.headers.host?.toString());
  } catch (error) {
    const isOtherHost = publicHost !== undefined && publicHost !== request.headers.host;
    if (!isOtherHost || !(error instanceof S3Error) || error.code !== 'SignatureDoesNotMatch') throw error;
    verify(publicHost);
  }
  return { ...identity, signature };
}
