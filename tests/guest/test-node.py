#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""node, which compiles while it runs, comes to the same results in a guest as on this host.

    test-node.py --vmm build/lodge-vmm [--scale 1]

The rows are those of the benchmark (bench/node/rows.js), with 1 processor and with 2.
"""
import argparse
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../bench"))

import node  # noqa: E402 (after the path that makes it visible)
from engines import Lodge  # noqa: E402
from guest import guest_file, tap  # noqa: E402
from suite import Results, measure  # noqa: E402

PATIENCE = 600  # seconds for one row; only ends what never ends by itself


def compare(options, cpus):
    rows = node.rows()
    with tempfile.NamedTemporaryFile(prefix="lodge-node-") as initrd:
        node.make_initrd(initrd.name)
        results = Results(rows)
        measure(results, [node.Native(cpus, PATIENCE),
                          Lodge("lodge", options.vmm, guest_file("kernel", "cloud"), initrd.name,
                                cpus, PATIENCE, **node.SETTINGS)], rows, 0, options.scale)
    assert not results.failed and not results.skipped, (results.failed, results.skipped)
    for row in rows:
        assert len(results.runs(row.name, "native", "lodge")) == 1, f"{row.name} did not run"
    print(f"# {len(rows)} rows have native's results")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--scale", type=float, default=1, help="of each row's work")
    options = parser.parse_args()
    tap.main({f"test_node, {cpus} vCPUs": lambda cpus=cpus: compare(options, cpus)
              for cpus in (1, 2)})


if __name__ == "__main__":
    main()
