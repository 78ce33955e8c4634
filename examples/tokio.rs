//! The reactor on tokio's current-thread runtime: a complete driver, and tokio's sockets and timers
//! in a coroutine.
//!
//! ```text
//! cargo run --example tokio
//! ```

use std::future::poll_fn;
use std::pin::pin;
use std::process::ExitCode;
use std::task::{Context, Poll};
use std::time::Duration;

use deferred_core::{Failure, IntoDeferred, Reactor, ReactorOwner, Turn, driver, inline_callbacks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::time::{Instant, sleep, sleep_until};

/// Drives `reactor` until it stops, concurrently with the runtime's other tasks on this thread.
async fn drive(reactor: ReactorOwner) {
    let mut alarm = pin!(sleep_until(Instant::now()));
    poll_fn(move |context: &mut Context<'_>| {
        loop {
            match reactor.turn(context.waker()) {
                Turn::Again => {
                    // Yields, so that the runtime can poll its I/O first.
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Turn::Sleep(Some(due)) => {
                    alarm.as_mut().reset(due.into());
                    if alarm.as_mut().poll(context).is_pending() {
                        return Poll::Pending;
                    }
                }
                Turn::Sleep(None) => return Poll::Pending,
                Turn::Stopped => return Poll::Ready(()),
            }
        }
    })
    .await;
}

/// [`deferred_core::park::react`] on tokio.
#[track_caller]
fn react<R: IntoDeferred<Failure>>(main: impl FnOnce(&Reactor) -> R) -> ExitCode {
    let runtime =
        runtime::Builder::new_current_thread().enable_all().build().expect("the system can create an I/O driver");
    let _entered = runtime.enter(); // `main` may create sockets and timers before the loop runs
    driver::react(|reactor| runtime.block_on(drive(reactor)), main)
}

fn main() -> ExitCode {
    react(|reactor| {
        reactor.call_later(Duration::from_millis(10), || println!("a timer of the reactor"));
        inline_callbacks(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let client = inline_callbacks({
                let address = listener.local_addr()?;
                async move {
                    let mut stream = TcpStream::connect(address).await?;
                    stream.write_all(b"hello over tokio's sockets").await?;
                    Ok(())
                }
            });
            let (mut stream, _) = listener.accept().await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await?;
            println!("{text}");
            client.await?;
            sleep(Duration::from_millis(20)).await;
            println!("a timer of tokio");
            Ok(())
        })
    })
}
