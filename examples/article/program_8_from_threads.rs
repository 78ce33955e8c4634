//! The article's eighth: calling the loop from a thread is safe, or it does not compile.
//!
//! ```text
//! cargo run --release --example article_8_from_threads
//! ```
//!
//! In Twisted nearly nothing may be called from a thread, and nothing stops anyone: a message that
//! is received in a thread and written to a transport there works at first, and after a while
//! silently does not. Here what belongs to the loop's thread stays there, since the compiler says
//! so, and what other threads may have says so too.
//!
//! | Python | here |
//! | --- | --- |
//! | `reactor.callFromThread(f)` | `handle.call_from_thread(f)?`, refused when the loop has ended |
//! | `blockingCallFromThread(reactor, f)` | `handle.blocking_call_from_thread(f)` |
//! | a Deferred, fired by a thread | `reactor.remote()` gives a Deferred and a resolver that may travel |
//! | a queue, fed by a thread | `reactor.remote_queue()` gives a queue and a sender that may travel |
//! | `reactor.callLater(..)` in a thread: wrong, and nothing is told | does not compile |
//!
//! What does not compile is shown, and kept from compiling, by the documentation's tests of
//! `src/lib.rs` in this crate.
//!
//! It ends when it is done.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use deferred_smol::smol::unblock;
use deferred_smol::{Deferred, Failure, NoReactor, Reactor, inline_callbacks, react};

const MESSAGES: u64 = 100_000;

/// What a thread asks for, on the loop.
fn answer() -> Deferred<&'static str> {
    match Reactor::current() {
        Some(reactor) => reactor.defer_later(Duration::from_millis(20), || Ok("an answer of the loop")),
        None => Deferred::fail(NoReactor::new()),
    }
}

fn main() -> ExitCode {
    let here = thread::current().id();
    let on_the_loop = move || thread::current().id() == here;
    let mut late = None;

    let code = react(|reactor| {
        // 1. A call: runs on the loop's thread, in a turn.
        let handle = reactor.handle();
        let calls = thread::spawn(move || {
            handle.call_from_thread(move || println!("called from a thread, on the loop: {}", on_the_loop()))
        });

        // 2. A question whose answer the thread waits for. The thread is blocked, the loop is not.
        let handle = reactor.handle();
        let asks = thread::spawn(move || {
            let answer = handle.blocking_call_from_thread(answer)?;
            println!("a thread has waited for {answer}");
            Ok::<_, Failure>(())
        });

        // 3. One result. A thread that dies without one is an error, not a wait for ever.
        let (result, resolver) = reactor.remote();
        thread::spawn(move || resolver.callback(6 * 7));
        let (lost, resolver) = reactor.remote::<()>();
        thread::spawn(move || drop(resolver));

        // 4. Many: the receiver of messages in a thread. When a thousand wait to be looked at, it
        //    waits too.
        let (queue, sender) = reactor.remote_queue(Some(1000));
        let receives = thread::spawn(move || (1..=MESSAGES).try_for_each(|message| sender.send_blocking(message)));

        // 5. After the end nothing is lost silently either: the call is refused, and given back.
        let handle = reactor.handle();
        late = Some(thread::spawn(move || {
            while handle.call_from_thread(|| ()).is_ok() {
                thread::sleep(Duration::from_millis(1));
            }
            println!("after the end of the loop a call from a thread is refused");
        }));

        inline_callbacks(async move {
            println!("a thread has brought {}, on the loop: {}", result.await?, on_the_loop());
            if let Err(failure) = lost.await {
                println!("a thread has brought nothing: {failure}");
            }
            let (mut count, mut sum) = (0, 0);
            // The queue is closed when its last sender is dropped.
            while let Ok(message) = queue.get().await {
                count += 1;
                sum += message;
            }
            println!("{count} messages from a thread, none lost: {}", sum == MESSAGES * (MESSAGES + 1) / 2);
            // To wait for a thread blocks, and so is done in another one.
            let asked = unblock(|| asks.join().is_ok_and(|asked| asked.is_ok())).await;
            let others = unblock(|| {
                calls.join().is_ok_and(|called| called.is_ok())
                    && receives.join().is_ok_and(|received| received.is_ok())
            });
            println!("the threads are done: {}", asked && others.await);
            Ok(())
        })
    });
    if let Some(late) = late {
        late.join().expect("it ends with the loop");
    }
    code
}
