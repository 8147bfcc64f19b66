"""Runs `tap | target-postgres` as Singer's runners do, and keeps the last state."""

import json
import os
import subprocess
import sys
from pathlib import Path

import asking

TARGET = {
    "default_target_schema": "peer",
    "load_method": "upsert",
    "use_copy": True,
    "batch_size_rows": 50_000,
    "validate_records": False,
    "add_record_metadata": False,
    "activate_version": False,
}


def main():
    call = asking.called()
    here, state = Path(__file__).parent, call.state / f"{call.resource}-state.json"
    tap_config, target_config = call.state / "tap.json", call.state / "target.json"
    asked = {"platform": call.platform, "token": asking.log_in(call.platform), "resource": call.resource}
    tap_config.write_text(json.dumps(asked))
    address = call.database.replace("postgresql://", "postgresql+psycopg://")
    target_config.write_text(json.dumps({"sqlalchemy_url": address, **TARGET}))
    tap = [sys.executable, str(here / "singer_tap.py"), "--config", str(tap_config)]
    tap += ["--state", str(state)] if state.exists() else []
    quiet = {**os.environ, "TAP_PEER_LOGLEVEL": "WARNING", "TARGET_POSTGRES_LOGLEVEL": "WARNING"}
    reading = subprocess.Popen(tap, stdout=subprocess.PIPE, env=quiet)
    target = str(Path(sys.executable).with_name("target-postgres"))
    writing = subprocess.Popen(
        [target, "--config", str(target_config)], stdin=reading.stdout, stdout=subprocess.PIPE, env=quiet
    )
    reading.stdout.close()
    said, _ = writing.communicate()
    if reading.wait() or writing.returncode:
        sys.exit(f"tap ended with {reading.returncode}, target with {writing.returncode}")
    if lines := said.decode().strip().splitlines():
        state.write_text(lines[-1])


if __name__ == "__main__":
    main()
