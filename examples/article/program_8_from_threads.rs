//! Program 8 of an introduction to Twisted: calling the loop from a thread is safe, or it does not
//! compile.
//!
//! ```text
//! cargo run --release --example article_8_from_threads
//! ```
//!
//! In Twisted almost nothing may be called from another thread, and nothing checks this: a program
//! that receives messages in a thread and writes them to a transport there works at first, and
//! after a while silently does not. Here the compiler checks it: types of the loop's thread are not
//! `Send`, and the types for other threads are.
//!
//! | Python | here |
//! | --- | --- |
//! | `reactor.callFromThread(f)` | `handle.call_from_thread(f)?`, which returns an error after the loop has ended |
//! | `blockingCallFromThread(reactor, f)` | `handle.blocking_call_from_thread(f)` |
//! | a Deferred, fired by a thread | `reactor.remote()` returns a Deferred and a resolver that is `Send` |
//! | a queue, fed by a thread | `reactor.remote_queue()` returns a queue and a sender that is `Send` |
//! | `reactor.callLater(..)` in a thread: wrong, and not reported | does not compile |
//!
//! The documentation tests in `src/lib.rs` of this crate show the calls that do not compile, and
//! check that they do not.
//!
//! It stops when it is done.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use deferred_smol::smol::unblock;
use deferred_smol::{Deferred, Failure, NoReactor, Reactor, inline_callbacks, react};

const MESSAGES: u64 = 100_000;

/// The call that a thread makes on the loop.
fn answer() -> Deferred<&'static str> {
    match Reactor::current() {
        Some(reactor) => reactor.defer_later(Duration::from_millis(20), || Ok("an answer from the loop")),
        None => Deferred::fail(NoReactor::new()),
    }
}

fn main() -> ExitCode {
    let here = thread::current().id();
    let on_loop_thread = move || thread::current().id() == here;
    let mut late = None;

    let code = react(|reactor| {
        // 1. A call, which runs on the loop's thread, in a turn.
        let handle = reactor.handle();
        let calling = thread::spawn(move || {
            handle.call_from_thread(move || println!("called from a thread, on the loop: {}", on_loop_thread()))
        });

        // 2. A call whose result the thread waits for. The thread is blocked, the loop is not.
        let handle = reactor.handle();
        let asking = thread::spawn(move || {
            let answer = handle.blocking_call_from_thread(answer)?;
            println!("a thread waited for {answer}");
            Ok::<_, Failure>(())
        });

        // 3. One result. If the thread ends without sending it, the Deferred fails.
        let (result, resolver) = reactor.remote();
        thread::spawn(move || resolver.callback(6 * 7));
        let (lost, resolver) = reactor.remote::<()>();
        thread::spawn(move || drop(resolver));

        // 4. Many results: messages that a thread receives. If a thousand of them wait in the
        //    queue, the thread waits too.
        let (queue, sender) = reactor.remote_queue(Some(1000));
        let receiving = thread::spawn(move || (1..=MESSAGES).try_for_each(|message| sender.send_blocking(message)));

        // 5. A call after the end of the loop returns an error, which contains the closure.
        let handle = reactor.handle();
        late = Some(thread::spawn(move || {
            while handle.call_from_thread(|| ()).is_ok() {
                thread::sleep(Duration::from_millis(1));
            }
            println!("a call from a thread after the end of the loop returns an error");
        }));

        inline_callbacks(async move {
            println!("a thread sent {}, received on the loop: {}", result.await?, on_loop_thread());
            if let Err(failure) = lost.await {
                println!("a thread sent nothing: {failure}");
            }
            let (mut count, mut sum) = (0, 0);
            // The queue is closed when its last sender is dropped.
            while let Ok(message) = queue.get().await {
                count += 1;
                sum += message;
            }
            println!("{count} messages from a thread, all received: {}", sum == MESSAGES * (MESSAGES + 1) / 2);
            // Joining a thread blocks, so another thread does it.
            let asked = unblock(|| asking.join().is_ok_and(|asked| asked.is_ok())).await;
            let others = unblock(|| {
                calling.join().is_ok_and(|called| called.is_ok())
                    && receiving.join().is_ok_and(|received| received.is_ok())
            });
            println!("the threads are done: {}", asked && others.await);
            Ok(())
        })
    });
    if let Some(late) = late {
        late.join().expect("the thread does not panic");
    }
    code
}
