"""Sessions of processes through the official Python SDK, sync and async. The environment has DAYTONA_API_URL and DAYTONA_API_KEY."""

import asyncio
import os
import uuid

import daytona as sdk
import pytest

IMAGE = os.environ["DARKROOM_TEST_IMAGE"]
ASKING = "echo 'name? ü'; read name; echo \"hello $name\"; echo bad >&2; head -c 200000 /dev/zero | tr '\\0' x"


def request(command, **more):
    return sdk.SessionExecuteRequest(command=command, **more)


@pytest.fixture(scope="module")
def name():
    client = sdk.Daytona()
    name = f"sessions-{uuid.uuid4().hex[:8]}"
    entrypoint = ["sh", "-c", "echo serving; echo problem >&2; sleep 1; echo done"]
    snapshot = client.snapshot.create(
        sdk.CreateSnapshotParams(name=name, image=IMAGE, entrypoint=entrypoint), timeout=120
    )
    yield name
    client.snapshot.delete(snapshot)


def check_kept_shell(ran, session, logs):
    assert (ran.exit_code, ran.stdout, ran.stderr) == (3, "/tmp\n1\n", "err\n")
    assert sorted(ran.output.splitlines()) == ["/tmp", "1", "err"]
    assert [command.exit_code for command in session.commands] == [0, 3]
    assert session.commands[1].id == ran.cmd_id
    assert (logs.stdout, logs.stderr) == (ran.stdout, ran.stderr)


def test_a_session_keeps_its_shell(name):
    client = sdk.Daytona()
    sandbox = client.create(sdk.CreateSandboxFromSnapshotParams(snapshot=name))
    try:
        process = sandbox.process
        process.create_session("work")
        with pytest.raises(sdk.DaytonaError, match="already exists"):
            process.create_session("work")
        process.execute_session_command("work", request("cd /tmp; export A=1"))
        ran = process.execute_session_command("work", request("pwd; echo $A; echo err >&2; (exit 3)"))
        check_kept_shell(ran, process.get_session("work"), process.get_session_command_logs("work", ran.cmd_id))
        assert process.get_session_command("work", ran.cmd_id).exit_code == 3
        assert [session.session_id for session in process.list_sessions()] == ["work"]
        process.delete_session("work")
        with pytest.raises(sdk.DaytonaNotFoundError):
            process.get_session("work")
    finally:
        sandbox.delete()


def test_the_sync_client_follows_a_command_and_sends_it_input(name):
    client = sdk.Daytona()
    sandbox = client.create(sdk.CreateSandboxFromSnapshotParams(snapshot=name))
    try:
        process = sandbox.process
        process.create_session("ask")
        cmd_id = process.execute_session_command("ask", request(ASKING, run_async=True)).cmd_id
        heard = {"stdout": "", "stderr": ""}
        answered = []

        def on_stdout(text):
            heard["stdout"] += text
            if not answered:
                answered.append(True)
                process.send_session_command_input("ask", cmd_id, "you")

        def on_stderr(text):
            heard["stderr"] += text

        asyncio.run(process.get_session_command_logs_async("ask", cmd_id, on_stdout, on_stderr))
        assert heard == {"stdout": "name? ü\nhello you\n" + "x" * 200_000, "stderr": "bad\n"}
        assert process.get_session_command("ask", cmd_id).exit_code == 0
    finally:
        sandbox.delete()


def test_the_entry_point_is_a_session(name):
    client = sdk.Daytona()
    sandbox = client.create(sdk.CreateSandboxFromSnapshotParams(snapshot=name))
    try:
        heard = []
        asyncio.run(sandbox.process.get_entrypoint_logs_async(heard.append, heard.append))
        assert "".join(heard) == "serving\nproblem\ndone\n"
        assert sandbox.process.get_entrypoint_logs().output == "serving\nproblem\ndone\n"
        assert sandbox.process.get_entrypoint_session().commands[0].exit_code == 0
    finally:
        sandbox.delete()


def test_the_async_client_does_the_same(name):
    async def story():
        async with sdk.AsyncDaytona() as client:
            sandbox = await client.create(sdk.CreateSandboxFromSnapshotParams(snapshot=name))
            try:
                process = sandbox.process
                await process.create_session("work")
                await process.execute_session_command("work", request("cd /tmp; export A=1"))
                ran = await process.execute_session_command("work", request("pwd; echo $A; echo err >&2; (exit 3)"))
                session = await process.get_session("work")
                check_kept_shell(ran, session, await process.get_session_command_logs("work", ran.cmd_id))

                cmd_id = (await process.execute_session_command("work", request(ASKING, run_async=True))).cmd_id
                heard = {"stdout": "", "stderr": ""}
                answered = []

                async def on_stdout(text):
                    heard["stdout"] += text
                    if not answered:
                        answered.append(True)
                        await process.send_session_command_input("work", cmd_id, "you")

                def on_stderr(text):
                    heard["stderr"] += text

                await process.get_session_command_logs_async("work", cmd_id, on_stdout, on_stderr)
                assert heard == {"stdout": "name? ü\nhello you\n" + "x" * 200_000, "stderr": "bad\n"}

                entry = []
                await process.get_entrypoint_logs_async(entry.append, entry.append)
                assert "".join(entry) == "serving\nproblem\ndone\n"
                await process.delete_session("work")
                with pytest.raises(sdk.DaytonaNotFoundError):
                    await process.get_session("work")
            finally:
                await sandbox.delete()

    asyncio.run(story())
