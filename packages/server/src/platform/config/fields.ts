import { z } from 'zod';

export const cidr = z.union([z.cidrv4(), z.cidrv6()], 'must be an address range such as 10.0.0.0/8');
export const ip = z.union([z.ipv4(), z.ipv6()], 'must be an IP address');
export const bytes = z.int().positive();
export const mbps = z.number().positive().max(100_000);
export const httpUrl = z.url({ protocol: /^https?$/, error: 'must be a URL such as https://host:port' });

/** HOST:PORT with an IPv6 address in brackets. */
export const listenAddress = z
  .string()
  .regex(/^(\[[0-9a-fA-F:.]+\]|[^:\s[\]]+):\d{1,5}$/, 'must be HOST:PORT, for example 127.0.0.1:3986')
  .refine((value) => Number(value.slice(value.lastIndexOf(':') + 1)) <= 65535, 'the port must be at most 65535');
