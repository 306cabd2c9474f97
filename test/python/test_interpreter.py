"""The stateful interpreter through the official Python SDK, sync and async. The environment has DAYTONA_API_URL and DAYTONA_API_KEY."""

import asyncio
import os
import uuid

import daytona as sdk
import pytest

IMAGE = os.environ["DARKROOM_TEST_IMAGE"]
CODE = """
import os, sys
print(value + 1, os.environ["A"], os.getcwd())
sys.stderr.write("warned")
raise ValueError("no")
"""


@pytest.fixture(scope="module")
def sandbox_id():
    client = sdk.Daytona()
    name = f"interpreter-{uuid.uuid4().hex[:8]}"
    snapshot = client.snapshot.create(sdk.CreateSnapshotParams(name=name, image=IMAGE), timeout=120)
    sandbox = client.create(sdk.CreateSandboxFromSnapshotParams(snapshot=name))
    yield sandbox.id
    sandbox.delete()
    client.snapshot.delete(snapshot)


def check(result):
    assert (result.stdout, result.stderr) == ("42 b /tmp\n", "warned")
    assert (result.error.name, result.error.value) == ("ValueError", "no")
    assert 'raise ValueError("no")' in result.error.traceback


def test_the_sync_client_keeps_state_between_runs(sandbox_id):
    interpreter = sdk.Daytona().get(sandbox_id).code_interpreter
    context = interpreter.create_context(cwd="/tmp")
    interpreter.run_code("value = 41", context=context)
    seen = []
    result = interpreter.run_code(
        CODE, context=context, envs={"A": "b"}, on_stdout=lambda message: seen.append(message.output), timeout=20
    )
    check(result)
    assert "".join(seen) == result.stdout
    assert interpreter.run_code("print('value' in globals())").stdout == "False\n"
    with pytest.raises(sdk.DaytonaTimeoutError):
        interpreter.run_code("import time; time.sleep(100)", context=context, timeout=1)
    assert interpreter.run_code("print(value)", context=context).stdout == "41\n"
    assert context.id in [known.id for known in interpreter.list_contexts()]
    interpreter.delete_context(context)
    assert context.id not in [known.id for known in interpreter.list_contexts()]
    with pytest.raises(sdk.DaytonaError, match="not found"):
        interpreter.run_code("1", context=context)


def test_the_async_client_does_the_same(sandbox_id):
    async def story():
        async with sdk.AsyncDaytona() as client:
            interpreter = (await client.get(sandbox_id)).code_interpreter
            context = await interpreter.create_context(cwd="/tmp")
            await interpreter.run_code("value = 41", context=context)
            check(await interpreter.run_code(CODE, context=context, envs={"A": "b"}, timeout=20))
            with pytest.raises(sdk.DaytonaTimeoutError):
                await interpreter.run_code("while True: pass", context=context, timeout=1)
            assert (await interpreter.run_code("print(value)", context=context)).stdout == "41\n"
            await interpreter.delete_context(context)

    asyncio.run(story())
