"""Uploads a directory as the official SDK does before a build, sync and async, and prints what each upload is called."""

import asyncio
import os
import sys

from daytona import AsyncDaytona, Daytona, DaytonaConfig, Image

config = DaytonaConfig(api_key=os.environ["DAYTONA_API_KEY"], api_url=os.environ["DAYTONA_API_URL"])


def image(directory):
    return Image.base("alpine:3.20").add_local_dir(directory, "/app")


def with_sync(directory):
    snapshots = Daytona(config).snapshot
    return snapshots.process_image_context(snapshots._SnapshotService__object_storage_api, image(directory))


async def with_async(directory):
    async with AsyncDaytona(config) as daytona:
        snapshots = daytona.snapshot
        api = snapshots._AsyncSnapshotService__object_storage_api
        return await snapshots.process_image_context(api, image(directory))


print("\n".join(with_sync(sys.argv[1]) + asyncio.run(with_async(sys.argv[2]))))
