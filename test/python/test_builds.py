"""Every method of the official `Image`, built and then used in a sandbox, sync and async. Local files go up over https alone, so the
environment says which server this is: DARKROOM_TEST_BUILDS is `files`, or `example` for what the documents show, or not set."""

import asyncio
import os
import uuid
import zipfile

import daytona as sdk
import pytest

IMAGE = os.environ["DARKROOM_TEST_IMAGE"]
PART = os.environ.get("DARKROOM_TEST_BUILDS")
files = pytest.mark.skipif(PART != "files", reason="needs a server with https")
example = pytest.mark.skipif(PART != "example", reason="needs a package index")
WITHOUT_INDEX = {"find_links": ["/wheels"], "extra_options": "--no-index --no-cache-dir --root-user-action=ignore"}


def write_wheel(directory, name):
    info = f"{name}-1.0.dist-info"
    content = {
        f"{name}.py": f"word = 'word of {name}'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    content[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*content, f"{info}/RECORD"])
    with zipfile.ZipFile(directory / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in content.items():
            wheel.writestr(path, text)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    root = tmp_path_factory.mktemp("files")
    (root / "note.txt").write_text("a note\n")
    (root / "app" / "deep" / "empty").mkdir(parents=True)
    (root / "app" / "deep" / "größe.txt").write_text("deep\n")
    (root / "app" / "run.sh").write_text("#!/bin/sh\necho it runs\n")
    (root / "app" / "run.sh").chmod(0o755)
    (root / "app" / "link").symlink_to("run.sh")
    (root / "wheels").mkdir()
    for name in ["alpha", "beta", "gamma"]:
        write_wheel(root / "wheels", name)
    (root / "requirements.txt").write_text("# what it needs\nbeta==1.0\n")
    (root / "pyproject.toml").write_text(
        '[project]\nname = "it"\nversion = "1"\ndependencies = ["alpha"]\n'
        '[project.optional-dependencies]\nmore = ["gamma>=0.5"]\n'
    )
    (root / "site" / "pages").mkdir(parents=True)
    (root / "site" / "pages" / "index.html").write_text("index\n")
    for name in ["a.cfg", "b.cfg"]:
        (root / "site" / name).write_text(f"{name}\n")
    (root / "site" / "Dockerfile").write_text(
        f"FROM {IMAGE}\nWORKDIR /site\nCOPY pages pages\nCOPY --chown=1000:1000 --chmod=640 *.cfg conf/\n"
        "RUN cat pages/index.html conf/* > all\n"
    )
    return root


def everything(root):
    return (
        sdk.Image.base(IMAGE)
        .env({"PLAIN": "yes", "SPACED": "it's \"a\" day", "DOLLAR": "$HOME & co", "URL": "https://x.test/y?a=b#c"})
        .workdir("/srv/the app")
        .add_local_file(root / "note.txt", "/srv/copied.txt")
        .add_local_file(str(root / "note.txt"), "/srv/in/")
        .add_local_dir(root / "app", "/srv/app")
        .run_commands('printf "%s\\n" "two  blanks" > string; pwd > where', ["sh", "-c", "echo \"q\" 's' > /srv/list"])
        .dockerfile_commands(
            ["COPY pages/index.html /srv/", "RUN <<EOF", "echo from a heredoc > /srv/heredoc", "EOF"], f"{root}/site/"
        )
        .cmd(["never", "run"])
        .entrypoint(["sh", "-c", "echo $0 $1 > /tmp/started; exec sleep infinity", "zero", "one"])
    )


LOOK_AT_EVERYTHING = """printf '%s|%s|%s|%s\\n' "$PLAIN" "$SPACED" "$DOLLAR" "$URL"; pwd
cd /srv; cat copied.txt in/note.txt 'the app/string' 'the app/where' list index.html heredoc
cat app/deep/größe.txt; app/link; readlink app/link; stat -c '%a %u:%g %F' app/run.sh app/deep/empty
until [ -s /tmp/started ]; do sleep 0.05; done; cat /tmp/started"""
EVERYTHING = """yes|it's "a" day|$HOME & co|https://x.test/y?a=b#c
/srv/the app
a note
a note
two  blanks
/srv/the app
"q" 's'
index
from a heredoc
deep
it runs
run.sh
755 0:0 regular file
755 0:0 directory
zero one
"""


def with_packages(root):
    return (
        sdk.Image.base(IMAGE)
        .add_local_dir(root / "wheels", "/wheels")
        .pip_install("alpha>=0.9", ["beta"], **WITHOUT_INDEX)
        .run_commands("python -m pip uninstall -q -y alpha beta --root-user-action=ignore")
        .pip_install_from_requirements(str(root / "requirements.txt"), **WITHOUT_INDEX)
        .pip_install_from_pyproject(
            str(root / "pyproject.toml"), ["more"], **{**WITHOUT_INDEX, "find_links": "/wheels"}
        )
    )


PRINT_WORDS = "python -c 'import alpha, beta, gamma; print(alpha.word, beta.word, gamma.word)'"
WORDS = "word of alpha word of beta word of gamma\n"


def new_name(what):
    return f"{what}-{uuid.uuid4().hex[:8]}"


def params(what, image):
    return sdk.CreateSnapshotParams(name=new_name(what), image=image)


def state_of(snapshot):
    return str(getattr(snapshot.state, "value", snapshot.state))


def run_sync(snapshot, command):
    client = sdk.Daytona()
    sandbox = client.create(sdk.CreateSandboxFromSnapshotParams(snapshot=snapshot))
    try:
        return sandbox.process.exec(command).result
    finally:
        sandbox.delete()


async def run_async(client, snapshot, command):
    sandbox = await client.create(sdk.CreateSandboxFromSnapshotParams(snapshot=snapshot))
    try:
        return (await sandbox.process.exec(command)).result
    finally:
        await sandbox.delete()


@files
def test_files_commands_variables_directory_and_start_are_in_sandboxes(workspace):
    snapshot = sdk.Daytona().snapshot.create(params("everything", everything(workspace)), timeout=120)
    assert state_of(snapshot) == "active"
    assert snapshot.entrypoint[:2] == ["sh", "-c"]
    assert run_sync(snapshot.name, LOOK_AT_EVERYTHING) == EVERYTHING


@files
def test_the_same_async(workspace):
    async def work():
        async with sdk.AsyncDaytona() as client:
            snapshot = await client.snapshot.create(params("everything", everything(workspace)), timeout=120)
            assert state_of(snapshot) == "active"
            assert await run_async(client, snapshot.name, LOOK_AT_EVERYTHING) == EVERYTHING

    asyncio.run(work())


@files
def test_packages_come_by_pip(workspace):
    snapshot = sdk.Daytona().snapshot.create(params("pip", with_packages(workspace)), timeout=120)
    assert run_sync(snapshot.name, PRINT_WORDS) == WORDS


@files
def test_a_dockerfile_is_built_with_the_files_beside_it(workspace):
    image = sdk.Image.from_dockerfile(str(workspace / "site" / "Dockerfile"))
    snapshot = sdk.Daytona().snapshot.create(params("dockerfile", image), timeout=120)
    assert run_sync(snapshot.name, "pwd; cat all; stat -c '%a %u:%g' conf/a.cfg") == (
        "/site\nindex\na.cfg\nb.cfg\n640 1000:1000\n"
    )


def printing(mark):
    return sdk.Image.base(IMAGE).run_commands(f"echo {mark}; for i in 1 2 3; do echo line $i; sleep 0.4; done")


def expect_printed(name, chunks):
    lines = "\n".join(chunks).split("\n")
    assert lines[0].startswith(f"Creating snapshot {name} (")
    assert lines[-1].startswith(f"Created snapshot {name} (")
    assert [line for line in lines if line.startswith("line ")] == ["line 1", "line 2", "line 3"]


@files
def test_logs_arrive_in_order():
    wish, chunks = params("logs", printing(new_name("sync"))), []
    sdk.Daytona().snapshot.create(wish, on_logs=chunks.append, timeout=60)
    expect_printed(wish.name, chunks)


@files
def test_logs_arrive_in_order_async():
    async def work():
        async with sdk.AsyncDaytona() as client:
            wish, chunks = params("logs", printing(new_name("async"))), []
            await client.snapshot.create(wish, on_logs=chunks.append, timeout=60)
            expect_printed(wish.name, chunks)

    asyncio.run(work())


@files
def test_a_step_that_fails_says_what_it_ran_and_its_last_words():
    image = sdk.Image.base(IMAGE).run_commands("echo before", "echo last words >&2; no-such-program --flag")
    with pytest.raises(sdk.DaytonaError) as failure:
        sdk.Daytona().snapshot.create(params("fails", image), timeout=60)
    for said in ["reason: ", "no-such-program --flag", "last words", "127", "not found"]:
        assert said in str(failure.value)

    async def work():
        async with sdk.AsyncDaytona() as client:
            with pytest.raises(sdk.DaytonaError, match="no-such-program --flag"):
                await client.snapshot.create(params("fails", image), timeout=60)

    asyncio.run(work())


@files
def test_a_time_out_of_the_client_ends_its_wait_and_a_delete_the_build():
    client, wish = sdk.Daytona(), params("slow", sdk.Image.base(IMAGE).run_commands("sleep 600"))
    with pytest.raises(sdk.DaytonaTimeoutError):
        client.snapshot.create(wish, timeout=2)
    snapshot = client.snapshot.get(wish.name)
    assert state_of(snapshot) == "building"
    client.snapshot.delete(snapshot)
    with pytest.raises(sdk.DaytonaNotFoundError):
        client.snapshot.get(wish.name)


@files
def test_a_sandbox_is_made_from_an_image_with_the_logs_of_its_build():
    client, chunks = sdk.Daytona(), []
    image = sdk.Image.base(IMAGE).run_commands(f"echo {uuid.uuid4().hex} > /built; echo building it", "echo and more")
    sandbox = client.create(
        sdk.CreateSandboxFromImageParams(image=image), on_snapshot_create_logs=chunks.append, timeout=60
    )
    try:
        assert len(sandbox.process.exec("cat /built").result) == 33
        lines = "\n".join(chunks).split("\n")
        assert "building it" in lines
        assert "and more" in lines
    finally:
        sandbox.delete()


def expect_numpy(result):
    assert result == "[2 4 6]\n"


USE_NUMPY = 'python -c "import numpy; print(numpy.array([1, 2, 3]) * 2)"'


@example
def test_the_example_of_the_documents():
    wish, chunks = params("example", sdk.Image.debian_slim("3.12").pip_install("numpy")), []
    snapshot = sdk.Daytona().snapshot.create(wish, on_logs=chunks.append)
    assert chunks[-1].startswith("Created snapshot")
    expect_numpy(run_sync(snapshot.name, USE_NUMPY))


@example
def test_the_example_of_the_documents_async():
    async def work():
        async with sdk.AsyncDaytona() as client:
            wish = params("example", sdk.Image.debian_slim("3.12").pip_install("numpy"))
            snapshot = await client.snapshot.create(wish, on_logs=lambda chunk: print(chunk, end=""))
            expect_numpy(await run_async(client, snapshot.name, USE_NUMPY))

    asyncio.run(work())
