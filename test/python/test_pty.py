"""Terminals through the official Python SDK, sync and async. The environment has DAYTONA_API_URL and DAYTONA_API_KEY."""

import asyncio
import os
import uuid

import daytona as sdk
import pytest
from daytona.common.pty import PtySize

IMAGE = os.environ["DARKROOM_TEST_IMAGE"]
QUIET = "stty -echo; PS1=; "
OPTIONS = {"cwd": "/tmp", "envs": {"GREETING": "héllo"}, "pty_size": PtySize(cols=100, rows=30)}


@pytest.fixture(scope="module")
def sandbox_id():
    client = sdk.Daytona()
    name = f"pty-{uuid.uuid4().hex[:8]}"
    snapshot = client.snapshot.create(sdk.CreateSnapshotParams(name=name, image=IMAGE), timeout=120)
    sandbox = client.create(sdk.CreateSandboxFromSnapshotParams(snapshot=name))
    yield sandbox.id
    sandbox.delete()
    client.snapshot.delete(snapshot)


def check_info(info, id):
    assert (info.id, info.cwd, info.cols, info.rows, info.active) == (id, "/tmp", 120, 40, True)
    assert info.envs == {"GREETING": "héllo"}


def test_the_sync_client_uses_a_terminal_from_its_creation_to_its_end(sandbox_id):
    process = sdk.Daytona().get(sandbox_id).process
    pty = process.create_pty_session(id="sync", **OPTIONS)
    assert pty.is_connected()
    check_info(pty.resize(PtySize(cols=120, rows=40)), "sync")
    check_info(process.get_pty_session_info("sync"), "sync")
    assert "sync" in [info.id for info in process.list_pty_sessions()]
    with pytest.raises(sdk.DaytonaError):
        process.create_pty_session(id="sync", **OPTIONS)

    again = process.connect_pty_session("sync")
    pty.disconnect()
    again.send_input(QUIET + 'pwd; echo "$GREETING $TERM"; stty size; exit 7\n')
    shown = bytearray()
    result = again.wait(on_data=shown.extend, timeout=30)
    assert "/tmp\r\nhéllo xterm-256color\r\n40 120\r\n" in shown.decode()
    assert result.exit_code == 7

    killed = process.create_pty_session(id="sync-killed", **OPTIONS)
    killed.kill()
    result = killed.wait(timeout=30)
    assert (result.exit_code, result.error) == (137, "the PTY session was deleted")
    with pytest.raises(sdk.DaytonaNotFoundError):
        process.get_pty_session_info("sync-killed")
    with pytest.raises(sdk.DaytonaError):
        process.connect_pty_session("missing")


def test_the_async_client_does_the_same(sandbox_id):
    async def story():
        async with sdk.AsyncDaytona() as client:
            process = (await client.get(sandbox_id)).process
            shown = bytearray()
            pty = await process.create_pty_session(id="async", on_data=shown.extend, **OPTIONS)
            check_info(await pty.resize(PtySize(cols=120, rows=40)), "async")
            check_info(await process.get_pty_session_info("async"), "async")
            again = await process.connect_pty_session("async", on_data=shown.extend)
            await pty.disconnect()
            await again.send_input(QUIET + 'pwd; echo "$GREETING $TERM"; stty size; exit 7\n')
            assert (await asyncio.wait_for(again.wait(), 30)).exit_code == 7
            assert "/tmp\r\nhéllo xterm-256color\r\n40 120\r\n" in shown.decode()

            killed = await process.create_pty_session(id="async-killed", on_data=shown.extend, **OPTIONS)
            await killed.kill()
            assert (await asyncio.wait_for(killed.wait(), 30)).exit_code == 137

    asyncio.run(story())
