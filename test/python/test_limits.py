"""Limits of sandboxes through the official Python SDK, sync and async. The environment has DAYTONA_API_URL and DAYTONA_API_KEY."""

import asyncio
import os
import uuid

import daytona as sdk
import pytest

IMAGE = os.environ["DARKROOM_TEST_IMAGE"]
FILL = "fallocate -l 2G /root/big 2>&1; rm -f /root/big"


def state_of(sandbox):
    return str(getattr(sandbox.state, "value", sandbox.state))


@pytest.fixture(scope="module")
def name():
    client = sdk.Daytona()
    name = f"limits-{uuid.uuid4().hex[:8]}"
    resources = sdk.Resources(cpu=1, memory=1, disk=1)
    snapshot = client.snapshot.create(
        sdk.CreateSnapshotParams(name=name, image=IMAGE, resources=resources), timeout=120
    )
    yield name
    client.snapshot.delete(snapshot)


def test_resize_and_pause(name):
    sandbox = sdk.Daytona().create(sdk.CreateSandboxFromSnapshotParams(snapshot=name))
    try:
        assert "No space left on device" in sandbox.process.exec(FILL).result
        sandbox.resize(sdk.Resources(cpu=2, memory=2))
        assert (state_of(sandbox), sandbox.cpu, sandbox.memory, sandbox.disk) == ("started", 2, 2, 1)
        sandbox.process.exec("sleep 5000 >/dev/null 2>&1 & echo $! > /root/pid")
        sandbox.pause()
        assert state_of(sandbox) == "paused"
        with pytest.raises(sdk.DaytonaError, match="paused"):
            sandbox.process.exec("true")
        sandbox.start()
        assert sandbox.process.exec("kill -0 $(cat /root/pid) && echo on").result.strip() == "on"
        sandbox.stop()
        sandbox.resize(sdk.Resources(disk=2))
        with pytest.raises(sdk.DaytonaError, match="can only be increased"):
            sandbox.resize(sdk.Resources(disk=1))
        sandbox.start()
        assert sandbox.process.exec("rm -f /root/big; fallocate -l 1500M /root/big").exit_code == 0
    finally:
        sandbox.delete()


def test_a_command_that_takes_too_much_memory_says_why(name):
    sandbox = sdk.Daytona().create(sdk.CreateSandboxFromSnapshotParams(snapshot=name))
    try:
        taken = sandbox.process.exec("head -c 1300m /dev/zero | tail -c 1200m | wc -c; exit 137")
        assert taken.exit_code == 137
        assert "memory limit" in taken.result
        assert sandbox.process.exec("echo alive").result.strip() == "alive"
    finally:
        sandbox.delete()


@pytest.mark.skipif(not hasattr(sdk.Sandbox, "get_metrics_latest"), reason="not in this version")
def test_metrics(name):
    sandbox = sdk.Daytona().create(sdk.CreateSandboxFromSnapshotParams(snapshot=name))
    try:
        metrics = sandbox.get_metrics_latest()
        assert metrics.mem_total == 1024**3
        assert 0 < metrics.mem_used < metrics.mem_total
        assert 0 < metrics.disk_used < metrics.disk_total
    finally:
        sandbox.delete()


def test_async(name):
    async def live():
        async with sdk.AsyncDaytona() as client:
            sandbox = await client.create(sdk.CreateSandboxFromSnapshotParams(snapshot=name))
            try:
                await sandbox.resize(sdk.Resources(cpu=2))
                assert (state_of(sandbox), sandbox.cpu) == ("started", 2)
                await sandbox.pause()
                assert state_of(sandbox) == "paused"
                await sandbox.start()
                assert (await sandbox.process.exec("echo on")).result.strip() == "on"
            finally:
                await sandbox.delete()

    asyncio.run(live())
