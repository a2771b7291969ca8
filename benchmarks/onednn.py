# SPDX-License-Identifier: Apache-2.0
"""oneDNN's fastest implementation of every layer against tfengine's steps: would oneDNN pay as a tactic?

    python benchmarks/onednn.py --onednn DIR MODEL=CONVERTED ... [--out FILE]

CONVERTED: directories made by `tfengine convert` in FP32, BF16 and INT8, as a pattern with {}: out/resnet50-{}. DIR holds the unpacked wheels
onednn-cpu-gomp and onednn-devel-cpu-gomp 2023.2.0. Batch 1, two threads; see onednn.cc for what is timed.
"""

import argparse
import json
import pathlib
import re
import subprocess
import tempfile

import numpy as np

import tfengine

TYPES = {"FP32": "f32", "BF16": "bf16", "INT8": "int8"}
VALUE = re.compile(r"%(\S+): \w+\[([\d,a-z]*)\]")


def program(folder, out):
    header = next(pathlib.Path(folder).rglob("oneapi/dnnl/dnnl.hpp")).parent.parent.parent
    library = next(pathlib.Path(folder).rglob("libdnnl.so")).parent
    source = pathlib.Path(__file__).with_name("onednn.cc")
    subprocess.run(["g++", "-O2", "-std=c++20", f"-I{header}", str(source), "-o", out, f"-L{library}", "-ldnnl", f"-Wl,-rpath,{library}"], check=True)


def layers(network, batch=1):
    """(name, line for onednn.cc) of the convolutions and products with constant weights."""
    shapes = {name: [batch if d.isalpha() else int(d) for d in dims.split(",") if d] for name, dims in VALUE.findall(network)}
    result = []
    for line in network.splitlines():
        node = re.match(r"\s+%(\S+): \S+ = (conv2d|matmul)\(%([^,]+), %([^,)]+).*\{(.*)\} \"(.*)\"", line)
        if not node:
            continue
        out, op, x, w, attrs, name = node.groups()
        attrs = dict(re.findall(r"(\w+)=(\[[^\]]*\]|[^,]+)", attrs))
        if op == "conv2d":
            n, h, width, c = shapes[x]
            kh, kw, _, k = shapes[w]
            top, _, left, _ = json.loads(attrs["pads"])
            stride = json.loads(attrs["strides"])[0]
            _, oh, ow, _ = shapes[out]
            result.append((name, f"conv {n} {h} {width} {c} {k} {oh} {ow} {kh} {kw} {stride} {top} {left} {attrs['groups']} {int('act' in attrs)}"))
        elif len(shapes[w]) == 2:
            k, n = sorted(shapes[w], key=lambda d: d != shapes[x][-1])
            result.append((name, f"matmul {int(np.prod(shapes[x][:-1]))} {k} {n}"))
    return result


def own_times(directory, names, threads):
    """Milliseconds of tfengine's steps for these layers; a step of several layers has the name of its last."""
    model = tfengine.Model(directory, threads=threads)
    engine = model.engine("serving_default")
    inputs = [np.ones([1 if d < 0 else d for d in spec.shape], spec.dtype) for spec in engine.inputs]
    best = {}
    for _ in range(20):
        for step in json.loads(engine.profile(inputs))["steps"]:
            if step["name"] in names:
                best[step["name"]] = min(best.get(step["name"], 1e30), step["ms"])
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--onednn", required=True)
    parser.add_argument("--out")
    parser.add_argument("models", nargs="+")
    args = parser.parse_args()
    rows = ["# oneDNN 3.2 layer by layer", "",
            "Sum of the fastest oneDNN implementation of every convolution and matrix product, each timed alone in oneDNN's own layouts (bringing",
            "tensors into them is not counted), beside the sum of tfengine's steps for the same layers inside the network. Milliseconds, batch 1,",
            "two threads. Layers that oneDNN wins: tfengine's step takes over 1.05 times as long (not counted where one step holds several layers).", "",
            "| model | precision | layers | oneDNN | tfengine | layers that oneDNN wins | won in all |", "| --- | --- | --- | --- | --- | --- | --- |"]
    with tempfile.TemporaryDirectory() as folder:
        executable = f"{folder}/onednn"
        program(args.onednn, executable)
        for item in args.models:
            model, pattern = item.split("=")
            network = subprocess.run(["tfengine", "inspect", "--network", pattern.format("FP32")], capture_output=True, text=True, check=True).stdout
            listed = layers(network)
            unique = list(dict.fromkeys(line for _, line in listed))
            answer = subprocess.run([executable], input="\n".join(unique) + "\n", capture_output=True, text=True, check=True,
                                    env={"OMP_NUM_THREADS": "2", "OMP_PROC_BIND": "true"}).stdout
            times = {}
            for line in answer.splitlines():
                index, kind, ms, *_ = line.split()
                times[unique[int(index)], kind] = float(ms)
            for precision, kind in TYPES.items():
                own = own_times(pattern.format(precision), {name for name, _ in listed}, 2)
                apart = len(own) == len(listed)  # no chains
                lost = [(own[name] - times[line, kind]) for name, line in listed if name in own and own[name] > 1.05 * times[line, kind]] if apart else []
                rows.append(f"| {model} | {precision} | {len(listed)} | {sum(times[line, kind] for _, line in listed):.2f} | {sum(own.values()):.2f} | "
                            + (f"{len(lost)} | {sum(lost):.2f} ms |" if apart else "– | – |"))
                print(rows[-1], flush=True)
    if args.out:
        pathlib.Path(args.out).write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
