"""Ports of sandboxes through the official Python SDK, sync and async. The environment has DAYTONA_API_URL and DAYTONA_API_KEY."""

import asyncio
import http.client
import os
import time
import urllib.parse
import uuid

import daytona as sdk
import pytest

IMAGE = os.environ["DARKROOM_TEST_IMAGE"]
SERVE = "nohup python3 -m http.server -d /srv 8000 >/dev/null 2>&1 &"


@pytest.fixture(scope="module")
def name():
    client = sdk.Daytona()
    name = f"preview-{uuid.uuid4().hex[:8]}"
    snapshot = client.snapshot.create(sdk.CreateSnapshotParams(name=name, image=IMAGE), timeout=120)
    yield name
    client.snapshot.delete(snapshot)


def look(url, **headers):
    """As a browser does, which leads names below localhost to this machine by itself."""
    parts = urllib.parse.urlsplit(url)
    assert parts.hostname.endswith(".localhost")
    connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=30)
    try:
        connection.request("GET", parts.path or "/", headers={"Host": parts.netloc, **headers})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def check_link(link):
    """Waits until the server in the sandbox listens."""
    token = {"X-Daytona-Preview-Token": link.token}
    deadline = time.monotonic() + 30
    while look(link.url, **token)[0] == 502 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert look(link.url, **token)[0] == 200
    assert look(link.url)[0] == 401
    assert look(link.url, Authorization=f"Bearer {os.environ['DAYTONA_API_KEY']}")[0] == 200


def test_ports(name):
    client = sdk.Daytona()
    sandbox = client.create(sdk.CreateSandboxFromSnapshotParams(snapshot=name))
    try:
        sandbox.process.exec(SERVE)
        check_link(sandbox.get_preview_link(8000))
        signed = sandbox.create_signed_preview_url(8000, 600)
        assert (signed.sandbox_id, signed.port) == (sandbox.id, 8000)
        assert look(signed.url)[0] == 200
        sandbox.expire_signed_preview_url(8000, signed.token)
        assert look(signed.url)[0] == 401
        with pytest.raises(sdk.DaytonaError, match="expiresInSeconds"):
            sandbox.create_signed_preview_url(8000, 100_000)
    finally:
        client.delete(sandbox)


def test_ports_async(name):
    async def run():
        async with sdk.AsyncDaytona() as client:
            sandbox = await client.create(sdk.CreateSandboxFromSnapshotParams(snapshot=name))
            try:
                await sandbox.process.exec(SERVE)
                check_link(await sandbox.get_preview_link(8000))
                signed = await sandbox.create_signed_preview_url(8000)
                assert look(signed.url)[0] == 200
                await sandbox.expire_signed_preview_url(8000, signed.token)
                assert look(signed.url)[0] == 401
            finally:
                await client.delete(sandbox)

    asyncio.run(run())
