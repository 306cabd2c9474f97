"""Waits of the newest Python SDK, which hears of changes by the event channel. The environment has DAYTONA_API_URL and DAYTONA_API_KEY."""

import asyncio
import importlib.metadata
import json
import os
import time
import urllib.request
import uuid

import daytona as sdk
import pytest

IMAGE = os.environ["DARKROOM_TEST_IMAGE"]
VERSION = tuple(int(part) for part in importlib.metadata.version("daytona").split(".")[:2])

pytestmark = pytest.mark.skipif(VERSION < (0, 199), reason="this version polls")


def state_of(sandbox):
    return str(getattr(sandbox.state, "value", sandbox.state))


def post(path):
    """By another client, so that the SDK itself is told nothing."""
    request = urllib.request.Request(
        f"{os.environ['DAYTONA_API_URL']}{path}",
        method="POST",
        data=b"{}",
        headers={"authorization": f"Bearer {os.environ['DAYTONA_API_KEY']}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read() or b"null")


@pytest.fixture(scope="module")
def name():
    client = sdk.Daytona()
    name = f"lifecycle-{uuid.uuid4().hex[:8]}"
    snapshot = client.snapshot.create(sdk.CreateSnapshotParams(name=name, image=IMAGE), timeout=120)
    yield name
    client.snapshot.delete(snapshot)


def test_the_sync_client_hears_of_a_change_that_its_polls_do_not_show(name):
    client = sdk.Daytona()
    sandbox = client.create(sdk.CreateSandboxFromSnapshotParams(snapshot=name))
    try:
        deadline = time.monotonic() + 20
        while not client._event_dispatcher.is_connected:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        polls = []
        before = sandbox._sandbox_api.get_sandbox(sandbox.id)
        look = sandbox._sandbox_api.get_sandbox
        sandbox._sandbox_api.get_sandbox = lambda *_args, **_kwargs: polls.append(1) or before
        post(f"/sandbox/{sandbox.id}/stop")
        sandbox.wait_for_sandbox_stop(timeout=30)
        assert state_of(sandbox) == "stopped"
        sandbox._sandbox_api.get_sandbox = look
    finally:
        sandbox.delete()


def test_the_async_client_does_so_too(name):
    async def run():
        async with sdk.AsyncDaytona() as client:
            sandbox = await client.create(sdk.CreateSandboxFromSnapshotParams(snapshot=name))
            try:
                deadline = time.monotonic() + 20
                while not client._event_dispatcher.is_connected:
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.02)
                before = await sandbox._sandbox_api.get_sandbox(sandbox.id)
                look = sandbox._sandbox_api.get_sandbox

                async def stale(*_args, **_kwargs):
                    return before

                sandbox._sandbox_api.get_sandbox = stale
                await asyncio.to_thread(post, f"/sandbox/{sandbox.id}/stop")
                await sandbox.wait_for_sandbox_stop(timeout=30)
                assert state_of(sandbox) == "stopped"
                sandbox._sandbox_api.get_sandbox = look
            finally:
                await sandbox.delete()

    asyncio.run(run())


def test_snapshots_that_are_inactive_or_locked_are_refused_in_words(name):
    client = sdk.Daytona()
    snapshot = client.snapshot.get(name)
    post(f"/snapshots/{snapshot.id}/deactivate")
    with pytest.raises(sdk.DaytonaError, match=f"Snapshot {name} is inactive"):
        client.create(sdk.CreateSandboxFromSnapshotParams(snapshot=name))
    active = client.snapshot.activate(client.snapshot.get(name))
    assert str(getattr(active.state, "value", active.state)) == "active"
