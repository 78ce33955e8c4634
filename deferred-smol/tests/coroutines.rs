//! Coroutines that await smol's timers, sockets, files, processes, signals and threads.

use std::cell::Cell;
use std::future::IntoFuture;
use std::rc::Rc;
use std::time::{Duration, Instant};

use deferred_smol::{
    Cancelled, Deferred, DeferredQueue, Failure, LoopingCall, concurrent, gather, inline_callbacks, run_until, smol,
};
use smol::Timer;
use smol::future::FutureExt;
use smol::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use smol::net::{TcpListener, TcpStream};

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_timer_of_smol_and_one_of_the_reactor_in_one_coroutine() {
    let begun = Instant::now();
    run_until(|reactor| {
        let reactor = reactor.clone();
        inline_callbacks(async move {
            Timer::after(5 * MS).await;
            reactor.sleep(5 * MS).await?;
            Timer::after(5 * MS).await;
            Ok(())
        })
    })
    .unwrap();
    assert!(begun.elapsed() >= 15 * MS);
}

#[test]
fn ticks_continue_while_a_coroutine_waits_for_a_smol_timer() {
    let ticks = Rc::new(Cell::new(0));
    let count = ticks.clone();
    run_until(|reactor| {
        drop(LoopingCall::new(reactor, move || count.set(count.get() + 1)).start(MS));
        inline_callbacks(async {
            Timer::after(30 * MS).await;
            Ok(())
        })
    })
    .unwrap();
    assert!(ticks.get() > 1);
}

#[test]
fn a_server_and_many_clients_on_one_thread() {
    let answers = run_until(|_| {
        inline_callbacks(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?;
            let serves = inline_callbacks(async move {
                for _ in 0..20 {
                    let (mut stream, _) = listener.accept().await?;
                    // Each connection has a coroutine that nothing waits for.
                    drop(inline_callbacks(async move {
                        let mut line = String::new();
                        BufReader::new(stream.clone()).read_line(&mut line).await?;
                        stream.write_all(line.to_uppercase().as_bytes()).await?;
                        stream.close().await?;
                        Ok(())
                    }));
                }
                Ok(())
            });
            let answers = concurrent(5)
                .map(0..20, move |n| {
                    inline_callbacks(async move {
                        let mut stream = TcpStream::connect(address).await?;
                        stream.write_all(format!("client {n}\n").as_bytes()).await?;
                        let mut answer = String::new();
                        stream.read_to_string(&mut answer).await?;
                        Ok(answer)
                    })
                })
                .await?;
            serves.await?;
            Ok(answers)
        })
    });
    let expected: Vec<_> = (0..20).map(|n| format!("CLIENT {n}\n")).collect();
    assert_eq!(answers.unwrap(), expected);
}

#[test]
fn cancelling_a_coroutine_that_waits_for_a_socket_drops_it() {
    let result = run_until(|reactor| {
        let accepts = inline_callbacks(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            listener.accept().await?;
            Ok(())
        });
        let mut accepts = accepts;
        let handle = accepts.cancel_handle();
        reactor.call_later(5 * MS, move || handle.cancel());
        accepts
    });
    assert!(result.unwrap_err().check::<Cancelled>());
}

#[test]
fn a_select_of_a_deferred_and_a_smol_timer() {
    for deferred_first in [false, true] {
        let first = run_until(|reactor| {
            let (deferred, resolver) = Deferred::<&str>::new();
            let delay = if deferred_first { MS } else { 200 * MS };
            reactor.call_later(delay, move || resolver.callback("the Deferred"));
            inline_callbacks(async move {
                let timer = async {
                    Timer::after(50 * MS).await;
                    Ok("the timer")
                };
                deferred.into_future().or(timer).await
            })
        });
        assert_eq!(first.unwrap(), if deferred_first { "the Deferred" } else { "the timer" });
    }
}

#[test]
fn a_job_in_a_thread_of_smols_pool() {
    let value = run_until(|_| {
        inline_callbacks(async {
            let sum = smol::unblock(|| (1..=100).sum::<u64>()).await;
            Ok::<_, Failure>(sum)
        })
    });
    assert_eq!(value.unwrap(), 5050);
}

#[test]
fn a_task_of_smol_feeds_a_queue_that_coroutines_read() {
    let sums = run_until(|_| {
        let queue = DeferredQueue::<u32>::with_limits(Some(2), None);
        let feeds = queue.clone();
        let producer = inline_callbacks(async move {
            for n in 0..10 {
                Timer::after(MS / 4).await;
                feeds.put_wait(n).await?;
            }
            feeds.close();
            Ok(0)
        });
        let readers = (0..3).map(|_| {
            let queue = queue.clone();
            inline_callbacks(async move {
                let mut sum = 0;
                while let Ok(n) = queue.get().await {
                    sum += n;
                }
                Ok(sum)
            })
        });
        gather(readers.chain([producer])).map_err(Failure::from)
    });
    assert_eq!(sums.unwrap().iter().sum::<u32>(), 45);
}

#[test]
fn a_file_is_written_and_read() {
    let path = std::env::temp_dir().join(format!("deferred-smol-file-{}", std::process::id()));
    let file = path.clone();
    let text = run_until(move |_| {
        inline_callbacks(async move {
            smol::fs::write(&file, "one\ntwo\n").await?;
            let mut lines = BufReader::new(smol::fs::File::open(&file).await?).lines();
            let mut text = Vec::new();
            while let Some(line) = smol::stream::StreamExt::next(&mut lines).await {
                text.push(line?);
            }
            smol::fs::remove_file(&file).await?;
            Ok(text)
        })
    });
    assert_eq!(text.unwrap(), ["one", "two"]);
    assert!(!path.exists());
}

#[cfg(unix)]
#[test]
fn a_process_is_fed_and_waited_for() {
    let (output, status) = run_until(|_| {
        inline_callbacks(async {
            let mut command = smol::process::Command::new("cat");
            command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
            let mut child = command.spawn()?;
            let mut stdin = child.stdin.take().ok_or_else(|| Failure::msg("it is piped"))?;
            stdin.write_all(b"meow").await?;
            drop(stdin);
            let mut output = String::new();
            child.stdout.take().ok_or_else(|| Failure::msg("it is piped"))?.read_to_string(&mut output).await?;
            Ok((output, child.status().await?))
        })
    })
    .unwrap();
    assert_eq!(output, "meow");
    assert!(status.success());
}

#[cfg(unix)]
#[test]
fn cancelling_a_coroutine_that_waits_for_a_process_drops_it() {
    let result = run_until(|reactor| {
        let waits = inline_callbacks(async {
            let mut command = smol::process::Command::new("sleep");
            Ok(command.arg("60").kill_on_drop(true).status().await?)
        });
        waits.add_timeout(20 * MS, reactor)
    });
    assert!(result.unwrap_err().check::<deferred_smol::TimedOut>());
}

#[cfg(unix)]
#[test]
fn a_signal_is_awaited_beside_the_loop() {
    use async_signal::{Signal, Signals};
    let (signal, ticks) = run_until(|reactor| {
        let ticks = Rc::new(Cell::new(0));
        let count = ticks.clone();
        drop(LoopingCall::new(reactor, move || count.set(count.get() + 1)).start(MS));
        let reactor = reactor.clone();
        inline_callbacks(async move {
            let mut signals = Signals::new([Signal::Usr1])?;
            reactor.sleep(10 * MS).await?;
            let this = std::process::id().to_string();
            smol::process::Command::new("kill").args(["-USR1", &this]).status().await?;
            let signal = smol::stream::StreamExt::next(&mut signals).await;
            Ok((signal.transpose()?, ticks.get()))
        })
    })
    .unwrap();
    assert_eq!(signal, Some(Signal::Usr1));
    assert!(ticks > 1);
}

#[test]
fn a_loop_in_each_of_several_threads() {
    let threads: Vec<_> = (0..4_u64)
        .map(|n| {
            std::thread::spawn(move || {
                run_until(|reactor| {
                    let reactor = reactor.clone();
                    inline_callbacks(async move {
                        let listener = TcpListener::bind("127.0.0.1:0").await?;
                        let mut sum = 0;
                        for round in 0..50 {
                            let mut client = TcpStream::connect(listener.local_addr()?).await?;
                            client.write_all(&[round]).await?;
                            let mut byte = [0];
                            listener.accept().await?.0.read_exact(&mut byte).await?;
                            reactor.sleep(MS / 10).await?;
                            sum += u64::from(byte[0]) * n;
                        }
                        Ok(sum)
                    })
                })
            })
        })
        .collect();
    for (n, thread) in (0..).zip(threads) {
        assert_eq!(thread.join().unwrap().unwrap(), n * (0..50).sum::<u64>());
    }
}

#[test]
fn two_loops_on_one_thread_beside_each_other() {
    let executor = smol::LocalExecutor::new();
    let (first, second) = (deferred_smol::Reactor::new(), deferred_smol::Reactor::new());
    let (one, two) = (Deferred::<u32>::new(), Deferred::<u32>::new());
    let ends = [first.clone(), second.clone()];
    // Each Deferred is fired by a timer of its own loop, and queries the other.
    let (resolver, other) = (one.1, two.0);
    first.call_later(5 * MS, move || resolver.callback(1));
    let asks = first.ensure_deferred(async move { Ok(other.await? + 10) });
    let resolver = two.1;
    second.call_later(10 * MS, move || resolver.callback(2));
    let answers = second.ensure_deferred(async move { Ok(one.0.await? + 20) });
    let drivers = [executor.spawn(deferred_smol::drive(first)), executor.spawn(deferred_smol::drive(second))];
    let sums = smol::block_on(executor.run(async move {
        let sums = (asks.await.unwrap(), answers.await.unwrap());
        ends.iter().for_each(|reactor| reactor.stop());
        for driver in drivers {
            driver.await;
        }
        sums
    }));
    assert_eq!(sums, (12, 21));
}
