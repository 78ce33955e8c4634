#!/usr/bin/env python3
"""Measures what one call site costs in release: kilobytes of the stripped program, and milliseconds
of processor time to compile it.

Each kind is compiled with 10 and with 510 distinct sites, and the difference is divided by 500.
Prints the table of docs/performance.md. Needs a minute for each kind.
"""

import os
import pathlib
import resource
import subprocess
import tempfile

CORE = pathlib.Path(__file__).resolve().parent.parent / "deferred-core"
FEW, MANY = 10, 510

MANIFEST = f"""
[package]
name = "sites"
version = "0.0.0"
edition = "2024"

[workspace]

[dependencies]
deferred-core = {{ path = "{CORE}" }}
futures = "0.3"
smol = "2"
tokio = {{ version = "1", features = ["rt", "sync"] }}

[profile.release]
strip = true
"""

# The name in the table, the parameter of a site, its result, and its body.
KINDS = [
    (
        "`add_callback`",
        "input: deferred_core::Deferred<u64>",
        "deferred_core::Deferred<u64>",
        "input.add_callback(move |value| Ok(value * 3 + NUMBER))",
    ),
    (
        "futures: `map`, boxed",
        "input: futures::future::LocalBoxFuture<'static, u64>",
        "futures::future::LocalBoxFuture<'static, u64>",
        "use futures::FutureExt; input.map(move |value| value * 3 + NUMBER).boxed_local()",
    ),
    (
        "`inline_callbacks`",
        "input: deferred_core::Deferred<u64>",
        "deferred_core::Deferred<u64>",
        "deferred_core::inline_callbacks(async move { Ok(input.await? * 3 + NUMBER) })",
    ),
    (
        "tokio: `spawn_local`",
        "input: tokio::sync::oneshot::Receiver<u64>",
        "tokio::task::JoinHandle<u64>",
        "tokio::task::spawn_local(async move { input.await.unwrap_or(0) * 3 + NUMBER })",
    ),
    (
        "async-executor: `spawn`",
        "input: (&smol::LocalExecutor<'static>, futures::channel::oneshot::Receiver<u64>)",
        "smol::Task<u64>",
        "let (executor, input) = input; executor.spawn(async move { input.await.unwrap_or(0) * 3 + NUMBER })",
    ),
]


def source(kind, count):
    _, parameter, output, body = kind
    sites = [
        f"fn site_{number}({parameter}) -> {output} {{ {body.replace('NUMBER', str(number))} }}"
        for number in range(count)
    ]
    # A table keeps each site a function of its own.
    names = ", ".join(f"site_{number} as *const ()" for number in range(count))
    main = f"fn main() {{ let sites = [{names}]; println!(\"{{:?}}\", sites[std::env::args().count()]); }}"
    return "\n".join(sites + [main])


def build(folder, code):
    """Returns the size of the program and the processor time of its compilation."""
    (folder / "src" / "main.rs").write_text(code)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=folder, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return (folder / "target" / "release" / "sites").stat().st_size, seconds


def main():
    os.environ.pop("CARGO_TARGET_DIR", None)
    print("| a site | KB | ms |\n| --- | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "src").mkdir()
        (folder / "Cargo.toml").write_text(MANIFEST)
        build(folder, source(KINDS[0], 1))  # compiles the dependencies
        for kind in KINDS:
            (few_bytes, few_seconds), (many_bytes, many_seconds) = (
                build(folder, source(kind, count)) for count in (FEW, MANY)
            )
            sites = MANY - FEW
            size, time = (many_bytes - few_bytes) / sites / 1024, (many_seconds - few_seconds) / sites * 1000
            print(f"| {kind[0]} | {size:.1f} | {time:.0f} |", flush=True)


main()
