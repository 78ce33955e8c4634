//! `drive_with` and `drive_yielding`: a driver that is a future, for any executor that can wait
//! until an `Instant`.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

#[cfg(doc)]
use super::super::Reactor;
use super::super::{ReactorOwner, Turn};
use crate::instant::Instant;

/// The maximum number of turns in one poll, after which the executor handles I/O and other tasks.
const TURNS: usize = 4;

/// Returns a future that drives `reactor` until it is stopped. While the reactor sleeps until a
/// time, the future waits for the future that `sleep_until` returns for it. That must use the
/// reactor's clock: the system's, unless there is [another one](Reactor::set_time_source).
///
/// This is a whole driver for an executor that runs futures on the reactor's thread.
/// `drive_with(reactor, smol::Timer::at)` is the driver of deferred-smol.
///
/// Nothing of the reactor runs before the first poll. When the future is complete or dropped, the
/// reactor is closed, also if the future was never polled.
///
/// # Examples
///
/// An executor that is only a blocked thread, and a timer that is one too:
///
/// ```
/// use std::thread;
/// use std::time::{Duration, Instant};
/// use deferred_core::{Reactor, RemoteFuture, driver};
/// use futures::executor::block_on;
///
/// fn sleep_until(due: Instant) -> RemoteFuture<()> {
///     let (sleep, completer) = RemoteFuture::new();
///     thread::spawn(move || {
///         thread::sleep(due.saturating_duration_since(Instant::now()));
///         completer.callback(());
///     });
///     sleep
/// }
///
/// let reactor = Reactor::new();
/// let stopper = reactor.clone();
/// reactor.call_later(Duration::from_millis(5), move || stopper.stop());
/// block_on(driver::drive_with(reactor, sleep_until));
/// ```
pub fn drive_with<S, F>(reactor: ReactorOwner, sleep_until: S) -> DriveWith<S, F>
where
    S: FnMut(Instant) -> F,
    F: Future,
{
    drive_yielding(reactor, sleep_until, YieldNow::default as fn() -> YieldNow)
}

/// Like [`drive_with`], but when the reactor has run several turns without a sleep, the future
/// waits for the future that `yield_now` returns. This is for an executor that would not handle its
/// I/O before a task that wakes itself, such as tokio in a `LocalSet`.
pub fn drive_yielding<S, F, N, Y>(reactor: ReactorOwner, sleep_until: S, yield_now: N) -> DriveWith<S, F, N, Y>
where
    S: FnMut(Instant) -> F,
    F: Future,
    N: FnMut() -> Y,
    Y: Future,
{
    DriveWith { reactor, sleep_until, yield_now, sleep: None, until: None, yields: None }
}

/// A future that wakes its task and is ready in the next poll, so that other tasks of an executor run
/// in between. [`drive_with`] waits for one after several turns without a sleep.
#[derive(Debug, Default)]
pub struct YieldNow {
    was_polled: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if mem::replace(&mut self.was_polled, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

pin_project! {
    /// A future that drives a reactor. [`drive_with`] and [`drive_yielding`] create it.
    #[must_use = "the reactor runs only while this is polled, and is closed when it is dropped"]
    pub struct DriveWith<S, F, N = fn() -> YieldNow, Y = YieldNow> {
        reactor: ReactorOwner,
        sleep_until: S,
        yield_now: N,
        #[pin]
        sleep: Option<F>,
        // The time of `sleep`, if that is not over. It is never later than the next deadline.
        until: Option<Instant>,
        #[pin]
        yields: Option<Y>,
    }
}

impl<S, F, N, Y> Future for DriveWith<S, F, N, Y>
where
    S: FnMut(Instant) -> F,
    F: Future,
    N: FnMut() -> Y,
    Y: Future,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut this = self.as_mut().project();
            if let Some(yields) = this.yields.as_mut().as_pin_mut() {
                ready!(yields.poll(context));
                this.yields.set(None);
            }
            for _ in 0..TURNS {
                match self.reactor.turn(context.waker()) {
                    Turn::Again => {}
                    Turn::Sleep(due) if self.as_mut().is_sleep_over(due, context) => {}
                    Turn::Sleep(_) => return Poll::Pending,
                    Turn::Stopped => {
                        self.reactor.close();
                        return Poll::Ready(());
                    }
                }
            }
            let mut this = self.as_mut().project();
            this.yields.set(Some((this.yield_now)()));
        }
    }
}

impl<S: FnMut(Instant) -> F, F: Future, N, Y> DriveWith<S, F, N, Y> {
    /// Returns `true` if the sleep is over. Otherwise its end wakes the task.
    ///
    /// Replacing the sleep costs more than an early wake-up, and the earliest deadline is often a
    /// timeout that is soon cancelled. So it is replaced only by an earlier one. If it ends too
    /// early, the next turn finds nothing to do, and a new one begins.
    fn is_sleep_over(self: Pin<&mut Self>, due: Option<Instant>, context: &mut Context<'_>) -> bool {
        let mut this = self.project();
        if let Some(due) = due.filter(|due| this.until.is_none_or(|until| *due < until)) {
            this.sleep.set(Some((this.sleep_until)(due)));
            *this.until = Some(due);
        }
        match this.sleep.as_mut().as_pin_mut() {
            Some(sleep) if this.until.is_some() => {
                let is_over = sleep.poll(context).is_ready();
                if is_over {
                    *this.until = None;
                }
                is_over
            }
            _ => false,
        }
    }
}

impl<S, F, N, Y> fmt::Debug for DriveWith<S, F, N, Y> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriveWith").field("reactor", &self.reactor).finish_non_exhaustive()
    }
}
