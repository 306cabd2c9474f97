/** Who asked for what, and what came of it. */
export interface AuditEntry {
  id: string;
  organizationId: string;
  userId: string;
  keyId: string;
  action: string;
  targetType: string | undefined;
  targetId: string | undefined;
  statusCode: number;
  errorMessage: string | undefined;
  ipAddress: string;
  userAgent: string | undefined;
  source: string | undefined;
  metadata: Readonly<Record<string, unknown>> | undefined;
  at: Date;
}
