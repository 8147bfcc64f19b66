"""The demo, as somebody who has just cloned the repository meets it."""

import asyncio
import re
import socket
import sys

from support.process import outcome
from support.waiting import until

PARENT = """
import asyncio, sys
from pathlib import Path
from counterfoil.cli.demo_parts import child, until_said

async def main(folder):
    async with child("sandbox", ["sandbox", "--port", "0"], folder) as process:
        print(await until_said(process, folder / "sandbox.log", "listening on ", asyncio.Event()), flush=True)
        await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1])))
"""
PLATFORMS = ("omtrader-demo", "ctrader-demo")


def said(out: str, platform: str, words: str) -> bool:
    """Whether a line of a platform says this."""
    return re.search(rf"^{platform}{words}", out, re.MULTILINE) is not None


async def test_the_demo_mirrors_two_platforms_moves_money_on_both_and_leaves_nothing_behind():
    code, out, err = await outcome("demo", "--seconds", "25")
    assert (code, err) == (0, "")
    for platform in PLATFORMS:
        assert said(
            out, platform, r": clients [1-9].* accounts [1-9].* transactions [1-9].* positions [1-9].* deals [1-9]"
        )
        assert said(out, platform, r", CRM: .*[1-9]\d* withdrawals confirmed, [1-9]\d* payouts paid")
        assert said(
            out, platform, r", analytics: account \d+ realised [+-][\d.,]+ [A-Z]{3}, won \d+, lost \d+; exposure"
        )
    assert said(out, "ctrader-demo", r", CRM: .*\([1-9]\d* passed KYC\)")
    assert out.rstrip().endswith("ended; nothing is left behind")


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


async def test_a_part_of_the_demo_ends_when_the_demo_is_killed(tmp_path):
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(60):
            found = re.search(r":(\d+)", (await parent.stdout.readline()).decode())
        port = int(found[1])
        assert listens(port)
    finally:
        parent.kill()
        await parent.wait()
    assert await until(lambda: listens(port), [False], 30) is False
