//! Turns of the loop on smol, each with one operation.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use deferred_smol::{Deferred, LoopingCall, Reactor, inline_callbacks, run, run_until};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, LocalExecutor, Timer};

const TICK: Duration = Duration::from_micros(100);

/// Runs the operation with this name `times` times. Returns `false` if the name is unknown.
pub(super) fn run_one(name: &str, times: u64) -> bool {
    match name {
        "ticks" => run(|reactor| ticks(reactor, TICK, times)),
        "mio-ticks" => deferred_mio::run(|reactor| ticks(reactor, TICK, times)),
        "mio-slow-ticks" => deferred_mio::run(|reactor| ticks(reactor, TICK * 25, times)),
        "plain-slow-ticks" => smol::block_on(async {
            for _ in 0..times {
                Timer::after(TICK * 25).await;
            }
        }),
        "plain-ticks" => smol::block_on(async {
            for _ in 0..times {
                Timer::after(TICK).await;
            }
        }),
        "bytes" => bytes(times, false),
        "bytes-timeout" => bytes(times, true),
        "plain-bytes" => plain_bytes(times),
        _ => return false,
    }
    true
}

fn pair() -> (Async<UnixStream>, Async<UnixStream>) {
    Async::<UnixStream>::pair().expect("the system has two sockets")
}

fn ticks(reactor: &Reactor, interval: Duration, times: u64) {
    let (mut left, stopper) = (times, reactor.clone());
    let ticking = LoopingCall::new(reactor, move || {
        left -= 1;
        if left == 0 {
            stopper.stop();
        }
    });
    drop(ticking.start(interval));
}

/// A reader and a writer, each a coroutine. The reader waits before the byte is written.
fn bytes(times: u64, timeout: bool) {
    let done: Result<(), _> = run_until(|reactor| {
        let reactor = reactor.clone();
        inline_callbacks(async move {
            let (here, mut there) = pair();
            let mut here = Some(here);
            for _ in 0..times {
                let mut socket = here.take().expect("the socket is returned after each read");
                let read: Deferred<_> = inline_callbacks(async move {
                    socket.read_exact(&mut [0]).await?;
                    Ok(socket)
                });
                let read = if timeout { read.add_timeout(Duration::from_secs(60), &reactor) } else { read };
                there.write_all(b"x").await?;
                here = Some(read.await?);
            }
            Ok(())
        })
    });
    done.expect("nothing fails");
}

/// Like [`bytes`], but with a task for each read.
fn plain_bytes(times: u64) {
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let (mut here, mut there) = pair();
        for _ in 0..times {
            let read = executor.spawn(async move {
                here.read_exact(&mut [0]).await.expect("a byte arrives");
                here
            });
            smol::future::yield_now().await;
            there.write_all(b"x").await.expect("the buffer has space for a byte");
            here = read.await;
        }
    }));
}
